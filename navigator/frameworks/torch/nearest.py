"""Where torch takes other pixels than ONNX Runtime (1.32) when an image is resized to the nearest ones.

torch multiplies a place by a reciprocal that it rounds to float32, and ONNX Runtime divides it by the factor: a place
that is about a whole number falls on either side of it.
"""

import functools

# Images of unknown size are rarely larger.
_LONGEST = 2**14


@functools.cache
def is_same(own: int | None, size: int | None, factor: float | None) -> bool:
    """Return whether both make the same of an axis for certain.

    Args:
        own: its size; None: not known.
        size: what it's resized to, by `factor` if that is given; None: not known.
        factor: what torch is given instead of sizes.
    """
    import numpy as np

    if factor is None:
        if own is None or size is None:
            return False
        longest, reciprocal, factor = size, np.float32(own) / np.float32(size), size / own
    else:
        sizes = np.arange(1, _LONGEST) if own is None else np.array([own])
        longest, reciprocal = int(sizes[-1] * factor), np.float32(1 / factor)
        if not np.array_equal(np.floor(sizes * factor), np.floor(np.float32(sizes) * np.float32(factor))):
            return False
    places = np.arange(longest, dtype=np.float32)
    return np.array_equal(np.floor(places * reciprocal), np.floor(places / np.float32(factor)))
