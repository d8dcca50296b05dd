"""Plans of TensorRT and TensorRT for RTX, read: the header of the file, and what the engine says of its layers."""

import struct
from pathlib import Path
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.tensorrt.library import NAMES

# TensorRT's objects; no types of theirs hold for every version.
_Trt = Any

# How a plan begins (seen in plans of TensorRT for RTX 1.7 and TensorRT 10): magic, then at these offsets the length
# of the whole file and the four parts of the version.
_MAGIC = {False: b"ftrt", True: b"vtrt"}
_LENGTH_OFFSET = 16
_VERSION_OFFSET = 24
_HEADER_BYTES = 32


def read_back(path: Path, expected: str, *, rtx: bool) -> str:
    """Return the version in the header of the plan at `path`.

    Raises:
        StepError: it is not a whole plan of that kind and version.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    size = path.stat().st_size
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC[rtx]):
        raise StepError(f"{path.name} is not a plan of {NAMES[rtx]}: it begins with {header[:4]!r}")
    (length,) = struct.unpack_from("<Q", header, _LENGTH_OFFSET)
    if length != size:
        raise StepError(f"{path.name} is cut off: {size} bytes of {length}", "free space on that disk, then run again")
    version = ".".join(str(part) for part in header[_VERSION_OFFSET : _VERSION_OFFSET + 4])
    if not expected.startswith(version):
        raise StepError(f"{path.name} says that {NAMES[rtx]} {version} built it, not {expected}")
    return version


def layers(trt: _Trt, path: Path) -> tuple[str, ...]:
    """Return what the engine at `path` says of its layers, one line each: name, and the types it computes in."""
    from polygraphy.backend.trt import engine_from_path

    inspector = engine_from_path(str(path)).create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.ONELINE)
    return tuple(line.strip() for line in str(text).splitlines() if line.strip())
