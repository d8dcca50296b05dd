"""Checks the files that a configuration names beside models: samples and plugins. Reads their first bytes and names."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from navigator.config.checks import Value
from navigator.config.paths import instead, is_file
from navigator.config.problems import Problems
from navigator.errors import listed, quote, remedy
from navigator.models.files import FETCH_LFS, is_pointer, pointer_problem

_NPY = b"\x93NUMPY"
_SAVE = "save it with numpy.savez(path, **{input name: array})"


def check_samples(
    value: Value,
    paths: Sequence[Path],
    inputs: Mapping[str, Any] | None,
    problems: Problems,
    *,
    labelled: bool = False,
) -> None:
    """Report sample files that can't be used.

    Args:
        value: the option, for places.
        paths: its files, absolute.
        inputs: the model's inputs by name, None if they are not known.
        problems: collects the problems.
        labelled: whether they may hold arrays that aren't inputs, for a metric.
    """
    for position, path in enumerate(paths):
        for message, hint in _sample_problems(path, inputs, labelled=labelled):
            problems.add(value.at(position), f"{value.subject}: {path} {message}", hint)


def check_plugins(value: Value, paths: Sequence[Path], problems: Problems) -> None:
    """Report plugin libraries that don't exist or weren't fetched; `value` is the option, for places."""
    for position, path in enumerate(paths):
        if not is_file(path):
            problems.add(value.at(position), f"{value.subject}: {path} does not exist", instead(path))
        for message, hint in pointer_problem(path):
            problems.add(value.at(position), f"{value.subject}: {message}", hint)


def _sample_problems(path: Path, inputs: Mapping[str, Any] | None, *, labelled: bool) -> Iterator[tuple[str, str]]:
    try:
        if path.is_dir():
            yield "is a directory", "list its files: .npz files with one array per input"
            return
        if path.suffix not in (".npz", ".npy"):
            yield "is neither an .npz nor an .npy file", _SAVE
            return
        if path.exists() and not path.is_file():
            # Opening a pipe would wait for somebody to write to it.
            yield "isn't a file", _SAVE
            return
        if is_pointer(path):
            yield "is a Git LFS pointer, not the file itself", FETCH_LFS
            return
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                arrays = [name.removesuffix(".npy") for name in archive.namelist()]
        else:
            with path.open("rb") as file:
                if file.read(len(_NPY)) != _NPY:
                    yield "is not a NumPy file", "save it with numpy.save"
                elif inputs is not None and len(inputs) > 1:
                    yield (
                        f"contains one array, but the model has {len(inputs)} inputs: {listed(inputs)}",
                        "save each sample as an .npz file with one array per input",
                    )
                return
    except FileNotFoundError:
        yield "does not exist", instead(path)
        return
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        yield "is not a NumPy archive", _SAVE
        return
    except OSError as error:
        yield f"can't be read: {error.strerror or error}", remedy(error) or "check the path"
        return
    if inputs is None:
        return
    for name in arrays:
        if name not in inputs and not labelled:
            hint = f"the model's inputs are {listed(inputs)}; labels need a metric"
            yield f"has an array {quote(name)} that is not an input", hint
    for name in inputs:
        if name not in arrays:
            yield f"has no array for input {quote(name)}", "a sample needs one array per input"
