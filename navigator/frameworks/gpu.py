"""Messages about a missing GPU or one without free memory, for every converter and runner that needs one.

Imports no framework and doesn't query the driver: `navigator.host.describe` does.
"""

from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable
from navigator.records import Host

_REMEDY = (
    "install the NVIDIA driver, so that nvidia-smi lists the GPU; start a container with --gpus all, or make the "
    "NVIDIA runtime Docker's default; in a workflow, use the GPU variant of the action on a runner with a GPU"
)


def no_gpu(host: Host) -> Unavailable | None:
    """Return that `host` has no usable NVIDIA GPU, with the notes about it, or None."""
    if host.gpus:
        return None
    notes = f" ({'; '.join(host.notes)})" if host.notes else ""
    return Unavailable(reason=f"no NVIDIA GPU is visible{notes}", remedy=_REMEDY)


def together(*reasons: Unavailable | None) -> Unavailable | None:
    """Return everything that is missing at once, so that users don't have to fix one thing after the other."""
    missing = [each for each in reasons if each is not None]
    if not missing:
        return None
    return Unavailable(
        reason="; ".join(each.reason for each in missing), remedy="; then ".join(each.remedy for each in missing)
    )


def is_out_of_gpu_memory(error: BaseException | None) -> bool:
    """Return whether a framework's exception means that the GPU is out of memory.

    Checks the name of the type, for torch and TensorFlow, and then the text, since torch's TorchScript interpreter and
    TensorRT's builder raise a RuntimeError.
    """
    if error is None:
        return False
    known = type(error).__name__ in ("OutOfMemoryError", "ResourceExhaustedError")
    return known or says_out_of_memory(str(error))


def says_out_of_memory(text: str) -> bool:
    """Return whether a framework's text, in a process that has a GPU, says that there's no memory left on it."""
    return "out of memory" in text.lower()


def out_of_gpu_memory(doing: str) -> StepError:
    """Return the error for a GPU that is out of memory.

    Args:
        doing: what needed the memory; the subject of the message.
    """
    return StepError(
        f"{doing} needs more memory than is free on the GPU",
        "reduce max_batch_size, max_shapes or tensorrt_max_workspace_size, or stop other programs that use the GPU "
        "(nvidia-smi lists them)",
    )
