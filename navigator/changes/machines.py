"""How the machines of two runs differ, and what that leaves to compare. Pure."""

from collections.abc import Iterator

from navigator.records import Host, Replacement

# Memory that another kernel or another virtual machine of the same kind leaves.
_ALIKE = 0.1


def tools(before: Host, after: Host) -> tuple[Replacement, ...]:
    """Return the packages that are in different versions, and Python."""
    one, other = ({"Python": host.python, **host.versions} for host in (before, after))
    return tuple(
        Replacement(name=name, before=one.get(name, ""), after=other.get(name, ""))
        for name in sorted({*one, *other}, key=str.lower)
        if one.get(name, "") != other.get(name, "")
    )


def machine(before: Host, after: Host) -> tuple[Replacement, ...]:
    """Return how the hardware differs."""
    return tuple(_hardware(before, after))


def same_gpus(before: Host, after: Host) -> bool:
    """Return whether both machines have the same GPUs, or none."""
    return _gpus(before) == _gpus(after)


def alike(before: Host, after: Host) -> bool:
    """Return whether a step needs as much memory on both machines: frameworks allocate for each core."""
    most = max(before.memory_bytes, after.memory_bytes)
    close = abs(before.memory_bytes - after.memory_bytes) <= _ALIKE * most
    return close and (before.cpu, before.cpu_count) == (after.cpu, after.cpu_count) and same_gpus(before, after)


def _hardware(before: Host, after: Host) -> Iterator[Replacement]:
    for name, one, other in (
        ("CPU", before.cpu, after.cpu),
        ("CPU cores", str(before.cpu_count), str(after.cpu_count)),
        ("GPU", ", ".join(_gpus(before)), ", ".join(_gpus(after))),
    ):
        if one != other:
            yield Replacement(name=name, before=one, after=other)


def _gpus(host: Host) -> list[str]:
    return sorted(gpu.name for gpu in host.gpus)
