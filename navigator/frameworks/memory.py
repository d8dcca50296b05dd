"""Whether there is the memory that a task will take: a sentence before the kernel kills the worker."""

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
        needed_bytes: the peak that the task was measured to reach, for the model at hand.
        purpose: what the memory is for; the subject of the sentence.
        root: where /proc and /sys lie.
    """
    available = _available(root)
    if needed_bytes > available:
        raise StepError(
            f"{purpose} takes about {gigabytes(needed_bytes)} of memory and {gigabytes(available)} are available",
            "use a machine with more memory, run fewer steps at the same time (jobs: 1), or raise memory_limit_bytes",
        )


def _available(root: Path) -> int:
    """Return what can be allocated now, within every control group and within this worker's own limit."""
    available = available_memory_bytes(root)
    limit = os.environ.get(LIMIT_VARIABLE)
    if limit is None:
        return available
    held = psutil.Process().memory_full_info()
    # What it shares with the server that it was forked from hardly counts. Not every kernel tells it apart.
    return min(available, max(0, int(limit) - getattr(held, "uss", held.rss)))


def gigabytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / 1e9:.1f} GB"
