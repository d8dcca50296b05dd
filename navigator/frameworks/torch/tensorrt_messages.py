"""What Torch-TensorRT says when it cannot compile a module, as a sentence."""

from navigator.errors import StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, out_of_gpu_memory
from navigator.frameworks.torch import values as torch_values


def refusal(error: Exception, version: str) -> StepError:
    """Return the compiler's error as a sentence."""
    if is_out_of_gpu_memory(error):
        return out_of_gpu_memory("compiling the module with Torch-TensorRT")
    if "Cannot specify Int64 input" in str(error):
        return StepError(
            f"Torch-TensorRT {version} made one engine of the whole model, and its engines take no int64 input",
            "declare these inputs as int32, if the model takes that: a TorchScript file leaves it open",
        )
    return StepError(
        f"Torch-TensorRT {version} cannot compile the model: {said(error)}",
        "the log has TensorRT's own words; another way to an engine is target_formats: [trt]",
    )


def said(error: BaseException) -> str:
    """Return the line of a Torch-TensorRT error that says what is wrong: a failed check puts it on the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith("to be true but got false"):
        return lines[1][:400]
    return torch_values.reason(error)
