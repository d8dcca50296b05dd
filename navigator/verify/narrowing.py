"""Floats that were rounded to a narrower type. NumPy only."""

import numpy as np


def narrower(values: np.ndarray) -> str:
    """Return the narrower type of floats that has all numbers of a tensor in float32, "" if none has."""
    if values.dtype != np.float32:
        return ""
    return next((each for each in ("bfloat16", "float16") if np.array_equal(rounded(values, each), values)), "")


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return numbers rounded to a narrower type."""
    with np.errstate(all="ignore"):
        if dtype == "float16":
            return values.astype(np.float16).astype(np.float32)
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        even = bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)
        return (even & np.uint32(0xFFFF0000)).view(np.float32)
