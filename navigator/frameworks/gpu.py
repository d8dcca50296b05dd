"""What is said where a GPU is missing, or its memory is used up. For every converter and runner that needs one.

Owns sentences. Imports no framework and asks no driver: `navigator.host.describe` did.
"""

from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable
from navigator.records import Host

_REMEDY = (
    "install the NVIDIA driver, until nvidia-smi lists the GPU; in a container, make the NVIDIA runtime Docker's "
    "default or start it with --gpus all; in a workflow, use the GPU variant of the action on a runner that has one"
)


def no_gpu(host: Host) -> Unavailable | None:
    """Return that `host` has no NVIDIA GPU that can be used, with what could not be found out about it, or None."""
    if host.gpus:
        return None
    notes = f" ({'; '.join(host.notes)})" if host.notes else ""
    return Unavailable(reason=f"no NVIDIA GPU is visible here{notes}", remedy=_REMEDY)


def together(*found: Unavailable | None) -> Unavailable | None:
    """Return all that is missing as one, so that nobody installs a package only to read about the GPU next."""
    missing = [each for each in found if each is not None]
    if not missing:
        return None
    return Unavailable(
        reason="; ".join(each.reason for each in missing), remedy="; then ".join(each.remedy for each in missing)
    )


def is_out_of_gpu_memory(error: BaseException | None) -> bool:
    """Tell whether a framework's exception says that the GPU's memory is used up.

    By the type's name, which tells it in torch and TensorFlow; else by the text, since torch's TorchScript interpreter
    and TensorRT's builder raise a RuntimeError of it.
    """
    if error is None:
        return False
    known = type(error).__name__ in ("OutOfMemoryError", "ResourceExhaustedError")
    return known or "out of memory" in str(error).lower()


def out_of_gpu_memory(doing: str) -> StepError:
    """Return the sentence for a GPU whose memory is used up.

    Args:
        doing: what needed the memory; the subject of the sentence.
    """
    return StepError(
        f"{doing} takes more memory than is free on the GPU",
        "lower max_batch_size or max_shapes, or tensorrt_max_workspace_size, or free the GPU: nvidia-smi lists what "
        "else uses it",
    )
