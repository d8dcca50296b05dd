"""The format of a model: by looking inside first, by its name's suffix second. Imports no framework.

Reads names in archives and a few bytes, never a pickle.
"""

import zipfile
from pathlib import Path
from typing import BinaryIO

from navigator.config.problems import quote
from navigator.errors import ConfigurationError
from navigator.records import Format

_SUFFIXES = {
    ".savedmodel": Format.TF_SAVEDMODEL,
    ".pt": Format.TORCHSCRIPT,
    ".pth": Format.TORCHSCRIPT,
    ".ts": Format.TORCHSCRIPT,
    ".jit": Format.TORCHSCRIPT,
    ".torchscript": Format.TORCHSCRIPT,
    ".pt2": Format.TORCH_EXPORT,
    ".onnx": Format.ONNX,
    ".plan": Format.TRT,
    ".engine": Format.TRT,
    ".trt": Format.TRT,
}
_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
# Formats whose files look the same from outside: only the user can tell them apart.
_LOOK_ALIKES = {
    Format.TF_SAVEDMODEL: (Format.TF_TRT,),
    Format.TORCHSCRIPT: (Format.TORCH_TRT,),
    Format.TRT: (Format.TRT_RTX,),
}
_ENGINES = (Format.TRT, Format.TRT_RTX)
# Fields of onnx.ModelProto. More than any version has, since later ones add fields; functions repeat one.
_IR_VERSION = 1
_GRAPH = 7
_LAST_FIELD = 63
_MOST_FIELDS = 100_000
_LFS = b"version https://git-lfs"
_NAME_IT = "set model_format if it is one of " + ", ".join(Format)
_SAVE_TORCH = "save the model with torch.jit.save (.pt) or torch.export.save (.pt2)"


class DeclaredFormatError(ConfigurationError):
    """The content is clearly of another format than the user declared."""


def detect_format(path: Path, declared: Format | None) -> Format:
    """Return the format of the model at `path`.

    Args:
        path: a file, or the directory of a SavedModel.
        declared: what the user says it is; it decides unless the content clearly is something else.

    Raises:
        ConfigurationError: there is no model, it cannot be used, its format cannot be told, or the content
            contradicts `declared` (then a `DeclaredFormatError`).
    """
    try:
        found = _look_inside(path, declared)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}", "check the path") from None
    if declared is None:
        return found if found is not None else _by_suffix(path)
    if found is not None and declared != found and declared not in _LOOK_ALIKES.get(found, ()):
        raise DeclaredFormatError(
            f"{path} is declared to be {declared}, but its content is {found}",
            f"set model_format to {found}, or remove it",
        )
    return declared


def _look_inside(path: Path, declared: Format | None) -> Format | None:
    """Return the format that the content shows, or None where it shows none."""
    if not path.exists():
        broken = "is a broken symbolic link" if path.is_symlink() else "does not exist"
        raise ConfigurationError(f"{path} {broken}", "check the path, or fetch the model first")
    if path.is_dir():
        return _directory(path)
    if not path.is_file():
        raise ConfigurationError(f"{path} is neither a file nor a directory", "check the path")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ConfigurationError(f"{path} is empty", "export the model again, or fetch it")
    if head.startswith(_LFS):
        raise ConfigurationError(
            f"{path} is a Git LFS pointer, not the model", "run `git lfs pull`, or check out with LFS on"
        )
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head.startswith(b"ftrt"):
        return Format.TRT
    if declared not in _ENGINES:
        _refuse_known(path, head)
    return _onnx(path, declared)


def _directory(path: Path) -> Format | None:
    if any((path / name).is_file() for name in _SAVED_MODEL_FILES):
        return Format.TF_SAVEDMODEL
    children = sorted(path.iterdir())[:1000]
    nested = [each for each in children if each.is_dir() and (each / _SAVED_MODEL_FILES[0]).is_file()]
    models = nested or [each for each in children if each.suffix in _SUFFIXES]
    hint = f"did you mean {models[0]}?" if models else "point model_path to the directory with saved_model.pb"
    raise ConfigurationError(f"{path} is a directory without saved_model.pb", hint)


def _archive(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ConfigurationError(f"{path} is a damaged or truncated archive", "save or fetch it again") from None
    # PyTorch's writer puts everything under one directory named after the file; torch.export wrote none until 2.7.
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names | inner:
        return Format.TORCH_EXPORT
    if "archive_format" in inner and any(name.startswith("models/") and name.endswith(".json") for name in inner):
        return Format.TORCH_EXPORT
    if any(name.startswith("data/aotinductor/") for name in names | inner):
        raise ConfigurationError(f"{path} is an AOTInductor package, compiled for one device", _SAVE_TORCH)
    if any(name.startswith("code/") for name in inner) and inner & {"constants.pkl", "model.json", "data.pkl"}:
        return Format.TORCHSCRIPT
    if inner & {"data.pkl"}:
        raise ConfigurationError(
            f"{path} holds pickled weights or a pickled module (torch.save), no graph", _SAVE_TORCH
        )
    if {"config.json", "model.weights.h5"} <= names:
        raise ConfigurationError(f"{path} is a Keras archive", "write a SavedModel with model.export(directory)")
    if any(name.endswith(_SAVED_MODEL_FILES[0]) for name in names):
        raise ConfigurationError(f"{path} is a zipped SavedModel", "unpack it and point model_path to the directory")
    raise ConfigurationError(f"{path} is a zip archive without a model that we know", _SAVE_TORCH)


def _refuse_known(path: Path, head: bytes) -> None:
    """Raise for what people have instead of a model that we can convert."""
    if path.name in _SAVED_MODEL_FILES:
        raise ConfigurationError(
            f"{path} is a file of a SavedModel", f"point model_path to its directory {path.parent}"
        )
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise ConfigurationError(
            f"{path} holds a pickle (torch.save of an old PyTorch, or joblib), no graph", _SAVE_TORCH
        )
    if head.startswith(b"\x89HDF\r\n"):
        raise ConfigurationError(f"{path} is an HDF5 file (Keras)", "write a SavedModel with model.export(directory)")
    if head[4:8] == b"TFL3":
        raise ConfigurationError(f"{path} is a TensorFlow Lite model", "convert from the SavedModel it was made of")


def _onnx(path: Path, declared: Format | None) -> Format | None:
    """Recognise ONNX by the fields of its outermost message, without parsing the graph."""
    graph = version = False
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MOST_FIELDS):
            if file.tell() >= size:
                break
            tag, value = _varint(file), _varint(file)
            if tag is None or value is None or tag & 7 not in (0, 2) or not 1 <= tag >> 3 <= _LAST_FIELD:
                return None
            is_message = tag & 7 == 2
            if is_message and file.tell() + value > size:
                named = Format.ONNX in (declared, _SUFFIXES.get(path.suffix.lower()))
                if version and (named or tag >> 3 == _GRAPH):
                    text = f"{path} is cut off: {size} bytes of at least {file.tell() + value}"
                    raise ConfigurationError(text, "export or fetch the model again")
                return None
            if is_message:
                file.seek(value, 1)
            version |= tag >> 3 == _IR_VERSION and not is_message
            graph |= tag >> 3 == _GRAPH and is_message
    return Format.ONNX if graph and version else None


def _varint(file: BinaryIO) -> int | None:
    """Read a protobuf varint, or return None where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _by_suffix(path: Path) -> Format:
    """Return the format of a file whose content shows none; only engines are believed by their name."""
    suffix = path.suffix.lower()
    found = _SUFFIXES.get(suffix)
    if found is Format.TRT:
        return found
    if found is not None:
        text = f"{path} is named {suffix} but its content is not {found}"
        raise ConfigurationError(text, f"export or fetch the model again, or {_NAME_IT}")
    what = f"the name's suffix {quote(suffix)}" if suffix else "the name, which has no suffix,"
    raise ConfigurationError(f"neither the content of {path} nor {what} tells its format", _NAME_IT)
