"""What the files of a model say about it, read without any framework.

Reads structures and skips weights: a few milliseconds for most models, and never more than the limits below allow.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from navigator.errors import ConfigurationError
from navigator.models.files import files_of, model_files
from navigator.models.structure import exported_program, onnx_file, saved_model, script
from navigator.models.structure.saved_model import SignatureError
from navigator.models.wire import DamagedError, UnreadableError
from navigator.records import Description, Format

_ENGINE = "everything else: only the library that built an engine reads it"
_UNREAD = "its inputs and outputs"

__all__ = ["SignatureError", "read", "with_size"]

# (path, signature's name or None, whether operators are asked for)
_READERS: dict[Format, Callable[[Path, str | None, bool], Description]] = {
    Format.ONNX: onnx_file.read,
    Format.TF_SAVEDMODEL: saved_model.read,
    Format.TORCH_EXPORT: exported_program.read,
    Format.TORCHSCRIPT: script.read,
}


def read(path: Path, model_format: Format, signature_name: str | None = None, *, operators: bool = True) -> Description:
    """Return what the file of a model says; what can't be read of it is in `unknown`.

    Args:
        path: the file, or the directory of a SavedModel.
        model_format: its format.
        signature_name: the signature of a SavedModel, None: its default.
        operators: also read what operators there are, which takes longer.

    Raises:
        ConfigurationError: it's damaged, or a SavedModel without such a signature or any to choose (`SignatureError`).
        OSError: it can't be read.
    """
    if model_format not in _READERS:
        unknown = script.UNKNOWN if model_format is Format.TORCH_TRT else _ENGINE
        return Description(model_format=model_format, unknown=(unknown,))
    try:
        return _READERS[model_format](path, signature_name, operators)
    except DamagedError as error:
        why = f": {error}" if str(error) else ""
        raise ConfigurationError(
            f"{path} is damaged or truncated{why}", "export or download the model again"
        ) from error
    except UnreadableError as error:
        return Description(model_format=model_format, unknown=(f"{_UNREAD}: {error}",))


def with_size(description: Description, path: Path) -> Description:
    """Return a description with the size of the model's files.

    Raises:
        OSError: one can't be read.
    """
    try:
        files = [file for _, file in files_of(path)] if path.is_dir() else model_files(path)
    except ConfigurationError:  # reported where the model is looked at
        files = []
    return replace(description, size_bytes=sum(file.stat().st_size for file in files))
