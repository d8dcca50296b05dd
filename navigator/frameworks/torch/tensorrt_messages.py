"""Turns errors of Torch-TensorRT into messages for the user."""

from navigator.errors import StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, out_of_gpu_memory
from navigator.frameworks.torch import values as torch_values

# What the front end for TorchScript says of BERT (2.11).
_EMPTY_STACK = "pop() called on empty stack"


def refusal(error: Exception, version: str, failure: str = "can't compile the model") -> StepError:
    """Return the compiler's error as a message; `failure` is what it didn't do."""
    if is_out_of_gpu_memory(error):
        return out_of_gpu_memory("compiling the module with Torch-TensorRT")
    if "Cannot specify Int64 input" in str(error):
        return StepError(
            f"Torch-TensorRT {version} built a single engine, and its engines don't support int64 inputs",
            "declare these inputs as int32 if the model accepts that",
        )
    if _EMPTY_STACK in str(error):
        return StepError(
            f"Torch-TensorRT {version} can't compile the model: its front end for TorchScript, which is deprecated, "
            f"doesn't support this graph ({_EMPTY_STACK})",
            "save the model with torch.export.save (.pt2), which its other front end reads, or build a TensorRT engine "
            "with target_formats: [trt]",
        )
    return StepError(
        f"Torch-TensorRT {version} {failure}: {said(error)}",
        "see TensorRT's messages in the log, or build a TensorRT engine with target_formats: [trt]",
    )


def said(error: BaseException) -> str:
    """Return the line of a Torch-TensorRT error with the reason: for a failed check, the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith("to be true but got false"):
        return lines[1][:400]
    return torch_values.reason(error)
