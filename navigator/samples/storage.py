"""Sets of named NumPy arrays on disk, which pass samples and outputs between workers and the parent process.

A directory contains `index.json` and one `.npy` file per array. Files are numbered, since tensor names may contain
any character. Pickles are never read, since the process that wrote the files ran an untrusted model.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Arrays = Mapping[str, np.ndarray]


def save(directory: Path, sets: Sequence[tuple[str, Arrays]]) -> None:
    """Write named sets of arrays, in order, into `directory`.

    Args:
        directory: is created; must not exist.
        sets: (set name, {tensor name: array}) pairs.

    Raises:
        TypeError: an array has a dtype that `.npy` can't store (objects, strings, bfloat16).
    """
    directory.mkdir(parents=True)
    index = []
    for position, (name, tensors) in enumerate(sets):
        files = {}
        for number, (tensor, array) in enumerate(tensors.items()):
            if array.dtype.kind not in "biufc":
                raise TypeError(f"{tensor!r} has dtype {array.dtype}, which can't be saved")
            files[tensor] = f"{position}_{number}.npy"
            np.save(directory / files[tensor], np.asarray(array, order="C"), allow_pickle=False)
        index.append({"name": name, "files": files})
    (directory / "index.json").write_text(json.dumps(index))


def load(directory: Path, *, mapped: bool = False) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Read what `save` wrote; `mapped` maps the files into memory instead of reading them.

    Raises:
        OSError, ValueError: a file is missing or wasn't written by `save`.
    """
    index = json.loads((directory / "index.json").read_text())
    return [
        (
            entry["name"],
            {
                tensor: np.load(directory / Path(file).name, mmap_mode="r" if mapped else None, allow_pickle=False)
                for tensor, file in entry["files"].items()
            },
        )
        for entry in index
    ]
