"""Turns errors of Torch-TensorRT into messages for the user."""

from navigator.errors import StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, out_of_gpu_memory
from navigator.frameworks.torch import values as torch_values


def refusal(error: Exception, version: str) -> StepError:
    """Return the compiler's error as a message."""
    if is_out_of_gpu_memory(error):
        return out_of_gpu_memory("compiling the module with Torch-TensorRT")
    if "Cannot specify Int64 input" in str(error):
        return StepError(
            f"Torch-TensorRT {version} built a single engine, and its engines don't support int64 inputs",
            "declare these inputs as int32 if the model accepts that",
        )
    return StepError(
        f"Torch-TensorRT {version} can't compile the model: {said(error)}",
        "see TensorRT's messages in the log, or build a TensorRT engine with target_formats: [trt]",
    )


def said(error: BaseException) -> str:
    """Return the line of a Torch-TensorRT error with the reason: for a failed check, the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith("to be true but got false"):
        return lines[1][:400]
    return torch_values.reason(error)
