"""ONNX to TensorRT and to TensorRT for RTX, through Polygraphy: one implementation, since the two share an API.

The network is strongly typed: its precision is the ONNX file's, which `onnx_to_typed_onnx` makes. Options: `tf32`,
`sparse_weights`, `max_workspace_size` in bytes, `plugins` (paths); `compute_capabilities` for RTX. TensorRT builds on
the GPU that the engine is for; TensorRT for RTX builds anywhere, for the compute capabilities that it is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from navigator.converters import tensorrt_build
from navigator.converters.protocol import Conversion
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.gpu import no_gpu
from navigator.records import Format, Host, Json

# TensorRT's objects; its package ships stubs that differ between versions, or none.
_Trt = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxToTrt:
    """A converter (see `navigator.converters.protocol`) to one of the two engines."""

    TARGET: Format
    DISTRIBUTIONS: tuple[str, ...]
    EXTRA: str
    NEEDS_GPU: bool
    SOURCE: Format = Format.ONNX
    PRELOAD: tuple[str, ...] = ()
    NEEDS_SAMPLES: bool = True
    IN_CONTAINER: bool = False

    def unavailable(self, host: Host) -> Unavailable | None:
        """Return why `host` cannot build, or None."""
        return (no_gpu(host) if self.NEEDS_GPU else None) or missing(self.DISTRIBUTIONS, self.EXTRA, host)

    def convert(self, conversion: Conversion) -> Mapping[str, Json]:
        """Build the engine; see `navigator.converters.protocol`."""
        return tensorrt_build.build(conversion, rtx=self.TARGET is Format.TRT_RTX)


ONNX_TO_TRT = OnnxToTrt(TARGET=Format.TRT, DISTRIBUTIONS=("tensorrt", "polygraphy"), EXTRA="tensorrt", NEEDS_GPU=True)
ONNX_TO_TRT_RTX = OnnxToTrt(
    TARGET=Format.TRT_RTX, DISTRIBUTIONS=("tensorrt-rtx-cu13", "polygraphy"), EXTRA="tensorrt-rtx", NEEDS_GPU=False
)
