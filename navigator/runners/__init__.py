"""How a model of each format is loaded and run: one module a format, one dictionary that lists them.

A runner is a module that satisfies `Runner`. Runners never judge: they return outputs by name, and
`navigator.verify.compare` compares. Frameworks are imported inside functions only.
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
