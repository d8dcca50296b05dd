"""Sizes that are a factor of others: torch computes them in double precision, and ONNX in float32.

100 times 0.57 is a bit less than 57, which float32 rounds up.
"""

import math

import numpy as np

# Products of such a part of one and the size of an image are exact in float32.
_EXACT = 2**8


def is_exact(length: int | None, factor: float) -> bool:
    """Return whether float32 has the right size for sure; None is any length."""
    if length is None:
        return (factor * _EXACT).is_integer()
    return math.floor(np.float32(length) * np.float32(factor)) == math.floor(length * factor)


def no_less(length: int | None, factor: float) -> float:
    """Return a factor with which float32 has no smaller size than the right one."""
    return factor if is_exact(length, factor) else float(np.nextafter(np.float32(factor), np.float32(np.inf)))
