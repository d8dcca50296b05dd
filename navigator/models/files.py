"""The files of a model: which ones there are, and those that are known to be broken before anything reads the model.

Knows the layout of an ONNX file just enough to find the files that hold its weights; imports no framework.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from navigator.errors import ConfigurationError, quote
from navigator.models.checkpoint import missing_files
from navigator.models.external_data import External, externals
from navigator.records import Format

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a pointer begins with this key, and is short.
_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024

FETCH_LFS = "run `git lfs pull`, or set `lfs: true` for actions/checkout"
_WHOLE_DIRECTORY = "copy or commit the whole directory, or save the model again"
_ONE_DIRECTORY = "save the model again, with its external data in the model's own directory"


def begins_pointer(content: bytes) -> bool:
    """Return whether a file with this beginning is what Git LFS leaves in place of a file that it hasn't fetched."""
    return content.startswith(_POINTER)


def is_pointer(path: Path) -> bool:
    """Return whether a path is a Git LFS pointer; False for all but regular files.

    Raises:
        OSError: it can't be read.
    """
    if not path.is_file() or path.stat().st_size > _POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return begins_pointer(file.read(len(_POINTER)))


def pointer_problem(path: Path) -> Iterator[tuple[str, str]]:
    """Yield that a file is a Git LFS pointer, and what to do about it, if it is one that can be read."""
    with suppress(OSError):
        if is_pointer(path):
            yield f"{path} is a Git LFS pointer, not the file itself", FETCH_LFS


def problems(path: Path, model_format: Format) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the files beside or below a model's own, and what to do about it.

    A Git LFS pointer, a link that leads out, variables that aren't there, external data that isn't there, too short or
    elsewhere. What can't be read isn't a problem of the configuration: it fails the model when it runs.

    Args:
        path: the file of a model, or the directory of a SavedModel.
        model_format: its format.
    """
    try:
        if model_format is Format.ONNX:
            yield from _external_problems(path)
        elif model_format in (Format.TF_SAVEDMODEL, Format.TF_TRT):
            for _, file in files_of(path):
                yield from pointer_problem(file)
            for name in missing_files(path):
                yield f"{path} has no {name}, which its variables need", _WHOLE_DIRECTORY
    except ConfigurationError as error:
        yield error.message, error.hint
    except OSError:
        return


def files_of(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative name, path) of each file in a directory, in a fixed order; links as what they lead to.

    Raises:
        ConfigurationError: the directory holds a link that leads out of it, nowhere or in a circle, or a file that
            is neither regular nor a directory.
        OSError: it can't be read.
    """
    inside = _real(root)

    def walk(directory: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
        for path in sorted(directory.iterdir()):
            real = _real(path) if path.is_symlink() else path
            if path.is_symlink() and not real.is_relative_to(inside):
                raise ConfigurationError(
                    f"{path} is a link to a place outside {root}", f"copy the file itself into {root}"
                )
            if real.is_dir():
                if _real(real) in above:
                    raise ConfigurationError(
                        f"{path} is a link to one of its own parent directories", "remove the link"
                    )
                yield from walk(path, f"{prefix}{path.name}/", (*above, _real(real)))
            elif real.is_file():
                yield f"{prefix}{path.name}", real
            else:
                raise ConfigurationError(f"{path} is neither a file nor a directory", f"remove it from {root}")

    yield from walk(root, "", (inside,))


def model_files(path: Path) -> tuple[Path, ...]:
    """Return the directory of a model, or its file and those that hold an ONNX model's external data.

    Raises:
        OSError: it can't be read.
    """
    return (path, *(path.parent / name for name in (external_data(path) if path.is_file() else [])))


def external_data(model: Path) -> list[str]:
    """Return the names of the files beside an ONNX model, whatever its suffix, that hold its weights; else [].

    Raises:
        OSError: it can't be read.
    """
    names = sorted({each.location for each in externals(model)})
    return [name for name in names if _is_beside(model, name) and (model.parent / name).is_file()]


def _external_problems(model: Path) -> Iterator[tuple[str, str]]:
    furthest: dict[str, External] = {}
    for each in externals(model):
        if each.is_used and each.end >= furthest.setdefault(each.location, each).end:
            furthest[each.location] = each
    for name, tensor in sorted(furthest.items()):
        yield from _external_problem(model, name, tensor)


def _external_problem(model: Path, name: str, tensor: External) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a file of weights; `tensor` is the one that reaches furthest into it."""
    file, stored = model.parent / name, f"{model} stores weights in {quote(name)}"
    if not _is_beside(model, name):
        yield f"{stored}, outside its own directory", _ONE_DIRECTORY
        return
    try:
        if not file.exists():
            yield f"{stored}, which doesn't exist", f"put the file next to {model.name}, or save the model again"
        elif not file.is_file():
            yield f"{stored}, which isn't a file", f"put the file next to {model.name}, or save the model again"
        elif is_pointer(file):
            yield from pointer_problem(file)
        elif file.stat().st_size < tensor.end:
            size = file.stat().st_size
            text = f"{file} is too short: tensor {quote(tensor.tensor)} of {model.name} ends at byte {tensor.end}"
            yield f"{text}, but the file has {size} bytes", "save the model again, or copy all of the file"
    except OSError:
        return


def _is_beside(model: Path, name: str) -> bool:
    """Return whether a location is below the model's directory, as ONNX demands, also where it is a link."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    return inside and _real(model.parent / name).is_relative_to(_real(model.parent))


def _real(path: Path) -> Path:
    """Return where links lead. Path.resolve raises different errors for a circle in Python 3.11 and 3.13."""
    return Path(os.path.realpath(path))
