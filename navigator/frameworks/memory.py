"""Whether the machine has the memory that a task will take: a sentence before the kernel kills the worker."""

import psutil

from navigator.errors import StepError


def require_memory(needed_bytes: int, purpose: str) -> None:
    """Raise `StepError` if a task needs more memory than is available now.

    Args:
        needed_bytes: the peak that the task was measured to reach, for the model at hand.
        purpose: what the memory is for; the subject of the sentence.
    """
    available = psutil.virtual_memory().available
    if needed_bytes > available:
        raise StepError(
            f"{purpose} takes about {gigabytes(needed_bytes)} of memory and {gigabytes(available)} are available",
            "use a machine with more memory, or run fewer steps at the same time (jobs: 1)",
        )


def gigabytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / 1e9:.1f} GB"
