"""Checks that a task has enough memory, for a clear error instead of a worker that the kernel kills."""

import os
from pathlib import Path

import psutil

from navigator.errors import StepError
from navigator.host.limits import ROOT, available_memory_bytes

LIMIT_VARIABLE = "MODEL_NAVIGATOR_MEMORY_LIMIT_BYTES"
"""Tells a worker the limit at which it's killed."""


def require_memory(needed_bytes: int, purpose: str, root: Path = ROOT) -> None:
    """Raise `StepError` if a task needs more memory than it can get now.

    Args:
        needed_bytes: the measured peak of the task for this model.
        purpose: what the memory is for; the subject of the message.
        root: the directory that contains /proc and /sys.
    """
    available = _available(root)
    if needed_bytes > available:
        raise StepError(
            f"{purpose} needs about {gigabytes(needed_bytes)} of memory, but only {gigabytes(available)} is available",
            "use a machine with more memory, run fewer steps in parallel (jobs: 1), or increase memory_limit_bytes",
        )


def _available(root: Path) -> int:
    """Return how much memory can be allocated now, within every control group and this worker's own limit."""
    available = available_memory_bytes(root)
    limit = os.environ.get(LIMIT_VARIABLE)
    if limit is None:
        return available
    held = psutil.Process().memory_full_info()
    # Memory shared with the server that forked this process hardly counts. Not every kernel reports it separately.
    return min(available, max(0, int(limit) - getattr(held, "uss", held.rss)))


def gigabytes(size_bytes: int) -> str:
    """Return a size for messages."""
    return f"{size_bytes / 1e9:.1f} GB"
