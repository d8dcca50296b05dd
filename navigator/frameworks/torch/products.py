"""Products of all that comes before, which ONNX has no operator for, in few steps for both of torch's exporters."""

from collections.abc import Iterator

TO_THE_END = 2**62
"""Where a slice ends that takes all."""

# Steps that suffice for an axis whose size isn't known; those beyond its end multiply nothing.
_MOST_STEPS = 24


def steps_back(size: int | None) -> Iterator[int]:
    """Yield by how many places products are moved before they're multiplied, for an axis of a size, None for any."""
    yield from (2**power for power in range(_MOST_STEPS if size is None else max(0, size - 1).bit_length()))
