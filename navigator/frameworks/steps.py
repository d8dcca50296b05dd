"""Moves weights by some steps of their dtype, forth and back, and puts them back to the last bit. NumPy only."""

import numpy as np

# Of float32 and float64: 7.6e-6 of a number. A step of float16 is 1e-3 of it.
_MOST, _MOST_OF_HALF = 64, 1


# By size; of the two types of two bytes, the smaller one.
_INFINITY = {2: 0x7C00, 4: 0x7F80_0000, 8: 0x7FF0_0000_0000_0000}


def steps(bits: np.ndarray, seed: int) -> np.ndarray:
    """Return how far to move each float, for `bits += steps`: `bits -= steps` is the way back.

    What has few steps to zero or to infinity stays: it's a zero or a mask.

    Args:
        bits: floats as signed whole numbers of the same size.
        seed: the same one gives the same steps.
    """
    most = _MOST_OF_HALF if bits.dtype.itemsize == 2 else _MOST
    found = np.random.default_rng(seed).integers(-most, most + 1, bits.shape, np.int8)
    magnitude = bits & np.iinfo(bits.dtype).max
    found[(magnitude <= most) | (magnitude >= _INFINITY[bits.dtype.itemsize] - most)] = 0
    return found
