"""Reads engine files of TensorRT and TensorRT for RTX: their header, and the layers of the engine."""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.tensorrt.library import NAMES

# TensorRT's objects; its types differ between versions.
_Trt = Any

# The start of an engine file (of TensorRT for RTX 1.7 and TensorRT 10): magic, and at these offsets the length of the
# file and the four parts of the version.
_MAGIC = {False: b"ftrt", True: b"vtrt"}
_LENGTH_OFFSET = 16
_VERSION_OFFSET = 24
_HEADER_BYTES = 32


def read_back(path: Path, expected: str, *, rtx: bool) -> str:
    """Return the version in the header of the engine file at `path`.

    Raises:
        StepError: it is not a complete engine file of that kind and version.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    size = path.stat().st_size
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC[rtx]):
        raise StepError(f"{path.name} is not an engine of {NAMES[rtx]}: it starts with {header[:4]!r}")
    (length,) = struct.unpack_from("<Q", header, _LENGTH_OFFSET)
    if length != size:
        raise StepError(
            f"{path.name} is truncated: expected {length} bytes, got {size}", "free up disk space, then run again"
        )
    version = _version(header)
    if not _agree(version, expected):
        raise StepError(f"{path.name}: expected an engine of {NAMES[rtx]} {expected}, got one of {version}")
    return version


def another_version(path: Path, package: str, *, rtx: bool) -> StepError | None:
    """Return the error for an engine file that another version has built, or None if its header doesn't tell so.

    For engines that the library has refused: some versions read those of others.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC[rtx]):
        return None
    version = _version(header)
    if _agree(version, package):
        return None
    return StepError(
        f"{NAMES[rtx]} {package} can't load {path.name}, an engine of {version}",
        f"build the engine again, or install {NAMES[rtx]} {version}",
    )


def _version(header: bytes) -> str:
    return ".".join(str(part) for part in header[_VERSION_OFFSET : _VERSION_OFFSET + 4])


def _agree(version: str, package: str) -> bool:
    """Return whether four numbers are the version of a package, which may have fewer, or a suffix.

    TensorRT 10.6.0.26 calls itself 10.6.0, others 10.0.0b6 or 8.5.3.post1.
    """
    numbers = re.match(r"\d+(?:\.\d+)*", package)
    return numbers is not None and f"{version}.".startswith(f"{'.'.join(numbers[0].split('.')[:4])}.")


def layers(trt: _Trt, path: Path) -> tuple[str, ...]:
    """Return the layers of the engine at `path`, one line each.

    Only an engine that was built with detailed information tells more than their names: their types, what they compute
    in, and their kernels.
    """
    from polygraphy.backend.trt import engine_from_path

    inspector = engine_from_path(str(path)).create_engine_inspector()
    text = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    try:
        return tuple(described(layer) for layer in json.loads(text)["Layers"])
    except (ValueError, KeyError, TypeError):
        return tuple(line.strip() for line in text.splitlines() if line.strip())


def described(layer: Mapping[str, Any] | str) -> str:
    """Return a layer of TensorRT's information as a line."""
    if isinstance(layer, str):
        return layer
    between = " to ".join(_types(layer.get(key, [])) for key in ("Inputs", "Outputs"))
    tactic = layer.get("TacticName", "")
    return ", ".join(filter(None, [f"{layer.get('Name', '')}: {layer.get('LayerType', '')}", between, str(tactic)]))


def _types(tensors: Sequence[Mapping[str, Any]]) -> str:
    found = dict.fromkeys(str(each.get("Format/Datatype", "")) for each in tensors)
    return " and ".join(filter(None, found)) or "nothing"
