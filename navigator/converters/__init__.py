"""The edges of the graph of formats: one module per converter, and a dictionary that lists them.

A converter is a module that satisfies `Converter`. To add one: write `<source>_to_<target>.py`, add it to
`CONVERTERS`, and its target to `schemas/navigator.schema.json`. Frameworks are only imported inside functions.
"""

from navigator.converters import (
    copy,
    onnx_to_onnx,
    onnx_to_trt,
    onnx_to_typed_onnx,
    tf_savedmodel_to_onnx,
    tf_savedmodel_to_tf_trt,
    torch_export_to_onnx,
    torch_export_to_torch_trt,
    torchscript_to_onnx,
    torchscript_to_torch_trt,
)
from navigator.converters.protocol import Converter

CONVERTERS: dict[str, Converter] = {
    "tf_savedmodel_to_onnx": tf_savedmodel_to_onnx,
    "torchscript_to_onnx": torchscript_to_onnx,
    "torch_export_to_onnx": torch_export_to_onnx,
    "onnx_to_onnx": onnx_to_onnx,
    "onnx_to_typed_onnx": onnx_to_typed_onnx,
    "tf_savedmodel_to_tf_savedmodel": copy.TF_SAVEDMODEL_TO_TF_SAVEDMODEL,
    "torchscript_to_torchscript": copy.TORCHSCRIPT_TO_TORCHSCRIPT,
    "torch_export_to_torch_export": copy.TORCH_EXPORT_TO_TORCH_EXPORT,
    "onnx_to_trt": onnx_to_trt.ONNX_TO_TRT,
    "onnx_to_trt_rtx": onnx_to_trt.ONNX_TO_TRT_RTX,
    "torch_export_to_torch_trt": torch_export_to_torch_trt,
    "torchscript_to_torch_trt": torchscript_to_torch_trt,
    "tf_savedmodel_to_tf_trt": tf_savedmodel_to_tf_trt,
}
