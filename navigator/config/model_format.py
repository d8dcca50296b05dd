"""Infers the format of a model from its content, or else from the suffix of its name. Imports no framework.

Reads the names in archives and a few bytes, never a pickle.
"""

import errno
import os
import shlex
import stat
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from navigator.config.paths import MOST_LOOKED_AT, instead
from navigator.errors import ConfigurationError, quote, remedy
from navigator.models.archive import Archive
from navigator.models.files import FETCH_LFS, begins_pointer, is_pointer
from navigator.models.structure import onnx_file
from navigator.models.wire import Cursor, DamagedError, Fields
from navigator.records import Format

SUFFIXES = {
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
# Formats whose files look the same: only the user can tell them apart.
_LOOK_ALIKES = {
    Format.TF_SAVEDMODEL: (Format.TF_TRT,),
    Format.TORCHSCRIPT: (Format.TORCH_TRT,),
    Format.TORCH_EXPORT: (Format.TORCH_TRT,),
    Format.TRT: (Format.TRT_RTX,),
}
_ENGINES = (Format.TRT, Format.TRT_RTX)
# Fields of onnx.ModelProto. More than any version has, since later ones add fields; functions repeat one.
_IR_VERSION = 1
_GRAPH = 7
_OPSET = 8
_LAST_FIELD = 63
_MOST_FIELDS = 100_000
# What isn't recognised by its content can only be one of these.
_IF_ENGINE = "if it's an engine, set model_format to trt or trt-rtx"
_FETCH = "export or download the model again"
_SAVE_TORCH = "save the model with torch.jit.save (.pt) or torch.export.save (.pt2)"
_LOAD_WEIGHTS = f"load them into their model, and {_SAVE_TORCH}"
_SAVED_MODEL_DIRECTORY = "set model_path to the directory that contains saved_model.pb"
_SAVE_KERAS = "export a SavedModel with model.export(directory)"


class DeclaredFormatError(ConfigurationError):
    """The content is clearly in another format than the user declared."""


class Found(NamedTuple):
    """What a look at a model tells: its format, and of an ONNX file the IR version and the opsets by domain."""

    model_format: Format
    ir_version: int = 0
    opsets: Mapping[str, int] = MappingProxyType({})


def detect_format(path: Path, declared: Format | None) -> Format:
    """Return the format of the model at `path`; see `look`."""
    return look(path, declared).model_format


def look(path: Path, declared: Format | None) -> Found:
    """Return the format of the model at `path`, and the versions that it declares.

    Args:
        path: a file, or the directory of a SavedModel.
        declared: the format that the user set, which is used unless the content clearly contradicts it.

    Raises:
        ConfigurationError: there is no model, it can't be used, its format can't be inferred, or the content
            contradicts `declared` (a `DeclaredFormatError`).
    """
    try:
        found = _look_inside(path, declared)
    except OSError as error:
        hint = remedy(error) or "check the path"
        raise ConfigurationError(f"{path} can't be read: {error.strerror or error}", hint) from None
    if found is None:
        return Found(declared or _by_suffix(path))
    content = found.model_format
    if declared not in (None, content, *_LOOK_ALIKES.get(content, ())):
        raise DeclaredFormatError(
            f"{path} is declared as {declared}, but its content is {content}",
            f"set model_format to {content}, or remove it",
        )
    return found._replace(model_format=declared or content)


def _look_inside(path: Path, declared: Format | None) -> Found | None:
    """Return what the content tells, or None if it is not recognized."""
    found = _status(path)
    if found is None:
        if path.is_symlink():
            raise ConfigurationError(
                f"{path} is a broken symbolic link", "correct the link, or download its file first"
            )
        raise ConfigurationError(f"{path} does not exist", instead(path))
    if stat.S_ISDIR(found.st_mode):
        return Found(_directory(path))
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is neither a file nor a directory", "check the path")
    with path.open("rb") as file:
        head = file.read(64)
        if not head:
            raise ConfigurationError(f"{path} is empty", _FETCH)
        if begins_pointer(head) and is_pointer(path):
            raise ConfigurationError(f"{path} is a Git LFS pointer, not the model", FETCH_LFS)
        if head.startswith(b"PK\x03\x04"):
            return Found(_archive(path, file))
        if head.startswith(b"ftrt"):
            return Found(Format.TRT)
        if declared not in _ENGINES:
            _refuse_known(path, head)
        file.seek(0)
        return _onnx(path, file, found.st_size, declared)


def _status(path: Path) -> os.stat_result | None:
    """Return what a path leads to, None if that is nothing."""
    try:
        return path.stat()
    except ValueError:  # a name that no file can have
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def is_saved_model(path: Path) -> bool:
    """Return whether a path is the directory of a SavedModel."""
    return any((path / name).is_file() for name in _SAVED_MODEL_FILES)


def _directory(path: Path) -> Format:
    if is_saved_model(path):
        return Format.TF_SAVEDMODEL
    children = sorted(path.iterdir())[:MOST_LOOKED_AT]
    nested = [each for each in children if each.is_dir() and (each / _SAVED_MODEL_FILES[0]).is_file()]
    models = nested or [each for each in children if each.suffix in SUFFIXES]
    if not models and any(each.suffix == ".safetensors" or each.name == "pytorch_model.bin" for each in children):
        raise ConfigurationError(f"{path} holds weights without a graph", _LOAD_WEIGHTS)
    hint = f"did you mean {models[0]}?" if models else _SAVED_MODEL_DIRECTORY
    raise ConfigurationError(f"{path} is a directory without saved_model.pb", hint)


def _archive(path: Path, file: BinaryIO) -> Format:
    try:
        return _packed(path, Archive(file))
    except DamagedError:
        raise ConfigurationError(f"{path} is a damaged or truncated archive", _FETCH) from None


def _packed(path: Path, archive: Archive) -> Format:
    """Return the format of what is in an archive."""
    root = archive.root
    is_pickled = archive.holds(f"{root}/data.pkl")
    has_module = is_pickled or archive.holds(f"{root}/constants.pkl") or archive.holds(f"{root}/model.json")
    if has_module and archive.holds(f"{root}/code/"):
        return Format.TORCHSCRIPT
    # torch.export wrote no folder until 2.7.
    if any(archive.holds(f"{folder}serialized_exported_program.json") for folder in ("", f"{root}/")):
        return Format.TORCH_EXPORT
    names, models = archive.names, f"{root}/models/"
    if f"{root}/archive_format" in names and any(each.startswith(models) and each.endswith(".json") for each in names):
        return Format.TORCH_EXPORT
    if any(archive.holds(f"{folder}data/aotinductor/") for folder in ("", f"{root}/")):
        raise ConfigurationError(f"{path} is an AOTInductor package, which is compiled for one device", _SAVE_TORCH)
    if is_pickled:
        raise ConfigurationError(
            f"{path} contains pickled weights or a pickled module (torch.save) but no graph", _SAVE_TORCH
        )
    if {"config.json", "model.weights.h5"} <= names:
        raise ConfigurationError(f"{path} is a Keras archive", _SAVE_KERAS)
    if any(name.endswith(_SAVED_MODEL_FILES[0]) for name in names):
        raise ConfigurationError(f"{path} is a zipped SavedModel", "unzip it and set model_path to the directory")
    raise ConfigurationError(f"{path} is a zip archive without a model in a known format", _SAVE_TORCH)


def _refuse_known(path: Path, head: bytes) -> None:
    """Raise for files that people often have instead of a model that can be converted."""
    if path.name in _SAVED_MODEL_FILES:
        raise ConfigurationError(
            f"{path} is one file of a SavedModel", f"set model_path to its directory {path.parent}"
        )
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise ConfigurationError(
            f"{path} contains a pickle (torch.save of an old PyTorch, or joblib) but no graph",
            f"{_SAVE_TORCH}, or a scikit-learn model as ONNX with skl2onnx",
        )
    if head.startswith(b"\x89HDF\r\n"):
        raise ConfigurationError(f"{path} is an HDF5 file (Keras)", _SAVE_KERAS)
    if head[4:8] == b"TFL3":
        raise ConfigurationError(f"{path} is a TensorFlow Lite model", "use the SavedModel that it was created from")


def _onnx(path: Path, file: BinaryIO, size: int, declared: Format | None) -> Found | None:
    """Recognize ONNX by the fields of its outermost message, without parsing the graph."""
    cursor = Cursor(file, size)
    graph = False
    version: int | None = None
    opsets: dict[str, int] = {}
    for _ in range(_MOST_FIELDS):
        if cursor.at >= size:
            break
        tag, value = cursor.varint(), cursor.varint()
        if tag < 0 or value < 0 or tag & 7 not in (0, 2) or not 1 <= tag >> 3 <= _LAST_FIELD:
            return None
        is_message = tag & 7 == 2
        if is_message and cursor.at + value > size:
            named = Format.ONNX in (declared, SUFFIXES.get(path.suffix.lower()))
            if version is not None and (named or tag >> 3 == _GRAPH):
                text = f"{path} is truncated: expected at least {cursor.at + value} bytes, got {size}"
                raise ConfigurationError(text, _FETCH)
            return None
        if is_message and tag >> 3 == _OPSET:
            content = cursor.read(value)
            with suppress(DamagedError):  # the run tells
                onnx_file.read_opset(Fields(BytesIO(content), len(content)), len(content), opsets)
            value -= len(content)
        if is_message:
            cursor.skip(value)
        if not is_message and tag >> 3 == _IR_VERSION:
            version = value
        graph |= tag >> 3 == _GRAPH and is_message
    return Found(Format.ONNX, version, opsets) if graph and version is not None else None


def _by_suffix(path: Path) -> Format:
    """Return the format of a file with unrecognized content: only engines are identified by their name."""
    suffix = path.suffix.lower()
    found = SUFFIXES.get(suffix)
    if found is Format.TRT:
        return found
    if found is Format.TF_SAVEDMODEL:
        raise ConfigurationError(f"{path} is a file, and a SavedModel is a directory", _SAVED_MODEL_DIRECTORY)
    if found is not None:
        text = f"{path} has the suffix {suffix}, but its content is not {found}"
        raise ConfigurationError(text, f"{_FETCH}, or {_IF_ENGINE}")
    if suffix in (".yaml", ".yml"):
        raise ConfigurationError(
            f"{path} is a configuration or an annotation, not a model",
            f"to use it as the configuration, run `model-navigator convert {shlex.quote(path.name)}`",
        )
    if (foreign := _foreign(suffix)) is not None:
        raise ConfigurationError(f"{path} {foreign[0]}", foreign[1])
    name = f"suffix {quote(suffix)}" if suffix else "name, which has no suffix"
    raise ConfigurationError(
        f"can't infer the format of {path} from its content or its {name}",
        f"export the model as ONNX, or, {_IF_ENGINE}",
    )


def _foreign(suffix: str) -> tuple[str, str] | None:
    """Return what a file of another tool is, and what to use instead."""
    match suffix:
        case ".safetensors" | ".bin":
            return "holds weights without a graph", _LOAD_WEIGHTS
        case ".pb":
            return "is a TensorFlow graph outside of a SavedModel", "save a SavedModel with tf.saved_model.save"
        case ".json":
            return "is text, not a model", "export the model as ONNX, for XGBoost with onnxmltools"
        case ".gguf" | ".mlmodel" | ".caffemodel" | ".xml" | ".pdmodel" | ".mnn":
            return "is in a format that can't be converted", "use the model that it was created from"
        case _:
            return None
