"""The matrix formats x opsets x modes x precisions, before applicability. Pure."""

from collections.abc import Iterator
from itertools import product

from navigator.records import Configuration, Format, ModelConfig, PrecisionMode
from navigator.runners import RUNNERS
from navigator.runners.protocol import Axis

# The formats of `target_formats: auto`.
_FORMATS = (
    Format.TF_TRT,
    Format.TF_SAVEDMODEL,
    Format.ONNX,
    Format.TRT,
    Format.TORCHSCRIPT,
    Format.TORCH_TRT,
)


def configurations(model: ModelConfig) -> Iterator[Configuration]:
    """Yield the matrix of `model` in the order formats, opsets, modes, precisions, before applicability.

    Values that don't apply to a format are None; so is the opset for `onnx_opsets: auto`, which the converter chooses.
    """
    mode = model.tensorrt_precisions_mode
    opsets = (None,) if isinstance(model.onnx_opsets, str) else model.onnx_opsets
    modes = (PrecisionMode.HIERARCHY, PrecisionMode.SINGLE) if mode is PrecisionMode.MIXED else (mode,)
    for target in formats_of(model):
        axes = RUNNERS[target].AXES
        points = product(
            opsets if Axis.OPSET in axes else (None,),
            modes if Axis.MODE in axes else (None,),
            model.tensorrt_precisions if Axis.PRECISION in axes else (None,),
        )
        for opset, each, precision in points:
            yield Configuration(target_format=target, onnx_opset=opset, precision=precision, precision_mode=each)


def formats_of(model: ModelConfig) -> tuple[Format, ...]:
    """Return the target formats of `model`."""
    return _FORMATS if isinstance(model.target_formats, str) else model.target_formats
