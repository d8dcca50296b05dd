"""Sets of named NumPy arrays on disk, which pass samples and outputs between workers and the parent process.

A directory contains `index.json` and one `.npy` file per array. Files are numbered, since tensor names may contain
any character. The process that wrote the files ran an untrusted model: pickles are never read, and no link is followed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navigator.plain_data import parse_json
from navigator.records import from_data
from navigator.safe_files import open_file, read_file

Arrays = Mapping[str, np.ndarray]

_INDEX = "index.json"
_INDEX_LIMIT_BYTES = 64 * 2**20
# Booleans, whole, real and complex numbers, and text in a fixed width.
_NUMBERS = "biufc"
_KINDS = f"{_NUMBERS}U"


@dataclass(frozen=True, slots=True)
class _Set:
    name: str
    files: Mapping[str, str]


def save(directory: Path, sets: Sequence[tuple[str, Arrays]]) -> None:
    """Write named sets of arrays, in order, into `directory`.

    Args:
        directory: is created; holds nothing yet.
        sets: (set name, {tensor name: array}) pairs.

    Raises:
        TypeError: an array has a dtype that `.npy` can't store (objects, bfloat16).
    """
    directory.mkdir(parents=True, exist_ok=True)
    index = []
    for position, (name, tensors) in enumerate(sets):
        files = {}
        for number, (tensor, array) in enumerate(tensors.items()):
            if array.dtype.kind not in _KINDS:
                raise TypeError(f"{tensor!r} has dtype {array.dtype}, which can't be saved")
            files[tensor] = f"{position}_{number}.npy"
            np.save(directory / files[tensor], np.asarray(array, order="C"), allow_pickle=False)
        index.append({"name": name, "files": files})
    (directory / _INDEX).write_text(json.dumps(index))


def load(
    directory: Path, *, mapped: bool = False, limit_bytes: int | None = None, text: bool = True
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Read what `save` wrote.

    Args:
        directory: where it is.
        mapped: map the files into memory instead of reading them.
        limit_bytes: the most that all arrays together may hold; None: anything.
        text: whether they may be text, which only inputs are.

    Raises:
        OSError, ValueError: a file is missing, no regular file, or wasn't written by `save`; or all are too large.
    """
    found = []
    room = float("inf") if limit_bytes is None else limit_bytes
    for name, files in _index(directory):
        tensors = {}
        for tensor, file in files.items():
            tensors[tensor] = _array(directory, Path(file).name, mapped=mapped, room=room, text=text)
            room -= tensors[tensor].nbytes
        found.append((name, tensors))
    return found


def stacked(sets: Sequence[tuple[str, Arrays]]) -> list[tuple[str, Arrays]]:
    """Return sets with arrays of the same shapes as one, so that many small ones need few files; see `unstacked`.

    Args:
        sets: their names have no spaces.
    """
    alike: dict[tuple[object, ...], list[tuple[str, Arrays]]] = {}
    for name, arrays in sets:
        alike.setdefault(tuple((key, each.shape, each.dtype) for key, each in arrays.items()), []).append(
            (name, arrays)
        )
    return [
        (
            " ".join(name for name, _ in group),
            {key: np.stack([arrays[key] for _, arrays in group]) for key in group[0][1]},
        )
        for group in alike.values()
    ]


def unstacked(sets: Sequence[tuple[str, Arrays]]) -> dict[str, dict[str, np.ndarray]]:
    """Return the sets that `stacked` was given, by their names.

    Raises:
        ValueError: it didn't make these.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for names, arrays in sets:
        several = names.split()
        if any(not array.ndim or len(array) != len(several) for array in arrays.values()):
            raise ValueError("its arrays aren't as many as their names")
        for number, name in enumerate(several):
            found[name] = {key: array[number, ...] for key, array in arrays.items()}
    return found


def _index(directory: Path) -> list[tuple[str, Mapping[str, str]]]:
    """Return the name of each set and its files by tensor."""
    text = read_file(directory / _INDEX, _INDEX_LIMIT_BYTES, directory.parent)
    try:
        return [(each.name, each.files) for each in from_data(list[_Set], parse_json(text))]
    except ValueError as error:
        raise ValueError(f"{_INDEX} is damaged: {error}") from error


def _array(directory: Path, name: str, *, mapped: bool, room: float, text: bool) -> np.ndarray:
    """Read an array of at most `room` bytes."""
    with open_file(directory / name, directory.parent) as file:
        # NumPy maps only what it opens itself: the name of the descriptor is the file, whatever `name` is by then.
        try:
            array = np.lib.format.open_memmap(f"/proc/self/fd/{file.fileno()}", mode="r")
        except OSError:
            raise
        except Exception as error:  # a header may claim anything, and NumPy raises what comes of it
            raise ValueError(f"{name} isn't an array: {type(error).__name__}: {error}") from error
    if array.dtype.kind not in (_KINDS if text else _NUMBERS):
        raise ValueError(f"{name} isn't an array of numbers{' or text' if text else ''}")
    if array.nbytes > room:
        raise ValueError("its arrays are larger than a worker's memory")
    return array if mapped else np.array(array)
