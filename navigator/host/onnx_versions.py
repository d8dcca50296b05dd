"""Which versions of ONNX the installed onnx knows, without the import of onnx."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

# A row of VERSION_TABLE in onnx/helper.py: the release, the IR version and the opsets of ai.onnx and ai.onnx.ml.
_ROW = re.compile(r'^\s*\("[\d.]+", (\d+), (\d+), (\d+)', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxVersions:
    """The newest of what an onnx knows: `opsets` by domain; `release` is its own version."""

    release: str
    ir_version: int
    opsets: Mapping[str, int]


@cache
def installed() -> OnnxVersions | None:
    """Return what the installed onnx knows, None if none is installed or it keeps its table elsewhere."""
    spec = importlib.util.find_spec("onnx")
    if spec is None or spec.origin is None:
        return None
    try:
        rows = _ROW.findall(Path(spec.origin).with_name("helper.py").read_text(encoding="utf-8"))
        release = metadata.version("onnx")
    except (OSError, metadata.PackageNotFoundError):
        return None
    if not rows:
        return None
    ir_version, opset, ml_opset = (max(map(int, column)) for column in zip(*rows, strict=True))
    return OnnxVersions(release=release, ir_version=ir_version, opsets={"ai.onnx": opset, "ai.onnx.ml": ml_opset})
