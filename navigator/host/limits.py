"""How much memory and how many cores a process may use, within every control group that it is in."""

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from navigator.errors import ExhaustedError

ROOT = Path("/")

# NumPy and the packages of this program; below, the libraries in them end the process with words of their own.
_ADDRESS_SPACE_BYTES = 2**28


def require_resources() -> None:
    """Check that this process may have the address space and the threads that it takes in any case.

    OpenBLAS, in NumPy, ends the process with exit code 1 without memory, and by SIGINT without threads.

    Raises:
        ExhaustedError: it may not.
        RuntimeError: a thread can't be started.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE_BYTES:
        raise ExhaustedError(
            f"this process may have {limit / 2**20:.0f} MiB of address space, and needs at least "
            f"{_ADDRESS_SPACE_BYTES / 2**20:.0f} MiB",
            "raise the limit that `ulimit -v` shows",
        )
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(cpu_count())]
    try:
        for thread in threads:
            thread.start()
    finally:
        end.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def available_memory_bytes(root: Path = ROOT) -> int:
    """Return what can be allocated now: free memory and droppable caches, within every control group's limit.

    Args:
        root: where /proc and /sys lie.
    """
    found = psutil.virtual_memory().available
    for group in _groups(root, "memory"):
        limit, usage = _limit(group), _usage(group)
        if limit is not None and usage is not None:
            found = min(found, max(0, limit - usage))
    return found


def memory_bytes(root: Path = ROOT) -> int:
    """Return the machine's memory, or the limit of the control group that we are in, whichever is less."""
    limits = (_limit(group) for group in _groups(root, "memory"))
    return min([psutil.virtual_memory().total, *(limit for limit in limits if limit is not None)])


def cpu_count(root: Path = ROOT) -> int:
    """Return the number of cores that we may use at the same time: affinity and quota, rounded up, at least 1."""
    count = float(len(os.sched_getaffinity(0)))
    for directory in _groups(root, "cpu"):
        quota, period = _cpu_quota(directory)
        if quota is not None and quota > 0 and period:
            count = min(count, quota / period)
    return max(1, int(-(-count // 1)))


def _limit(group: Path) -> int | None:
    """Return a memory control group's limit in bytes (version 2 or 1 of control groups), or None."""
    return _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")


def _usage(group: Path) -> int | None:
    """Return the bytes that a group uses without the caches of files, which the kernel drops when it needs the room."""
    usage, caches = _number(group / "memory.current"), ("inactive_file", "active_file")
    if usage is None:
        usage, caches = _number(group / "memory.usage_in_bytes"), ("total_inactive_file", "total_active_file")
    if usage is None:
        return None
    for line in (read_text(group / "memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key in caches:
            usage -= int(value)
    return max(0, usage)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of the control groups that we are in, innermost first: every level may have a limit.

    In a container the path that the kernel tells may be the host's, which is not mounted; the mount's own root is
    then the container's group.
    """
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = mount / path.lstrip("/")
        yield from (directory for directory in (inner, *inner.parents) if directory.is_relative_to(mount))


def _cpu_quota(directory: Path) -> tuple[float | None, float]:
    """Return quota and period in microseconds; None is no quota."""
    if text := read_text(directory / "cpu.max"):
        quota, period = text.split()
        return (None if quota == "max" else float(quota)), float(period)
    found = _number(directory / "cpu.cfs_quota_us")
    return found, float(_number(directory / "cpu.cfs_period_us") or 100000)


def _number(path: Path) -> int | None:
    """Return the number in a file, or None if there is no file or no limit."""
    text = (read_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def read_text(path: Path) -> str | None:
    """Return the text of a file of the kernel, or None if there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
