"""Loads and runs models: one module per format, and a dictionary that lists them.

A runner is a module that satisfies `Runner`. Runners only return outputs by name; `navigator.verify.compare` compares
them. Frameworks are only imported inside functions.
"""

from navigator.records import Format
from navigator.runners import onnx, tf_savedmodel, tf_trt, torch_export, torch_trt, torchscript, trt
from navigator.runners.protocol import Runner

RUNNERS: dict[Format, Runner] = {
    Format.TF_SAVEDMODEL: tf_savedmodel,
    Format.ONNX: onnx,
    Format.TORCHSCRIPT: torchscript,
    Format.TORCH_EXPORT: torch_export,
    Format.TF_TRT: tf_trt,
    Format.TORCH_TRT: torch_trt,
    Format.TRT: trt.TRT,
    Format.TRT_RTX: trt.TRT_RTX,
}
