"""How an output of an exported operator differs from torch's, beyond rounding."""

from typing import Any

import numpy as np

# Differences below these are rounding: exporters write operators of torch as several of ONNX. The last is of the
# largest value, since sums of large values may be small.
_ATOL, _RTOL, _SCALE = 1e-4, 1e-3, 4e-6


def difference(expected: np.ndarray, actual: np.ndarray, noise: np.ndarray) -> str:
    """Return how an output differs from torch's, or ""; what is NaN in torch can't be compared."""
    if (expected.dtype, expected.shape) != (actual.dtype, actual.shape):
        return f"{actual.dtype.name}{list(actual.shape)} instead of {expected.dtype.name}{list(expected.shape)}"
    kind: Any = np.complex128 if expected.dtype.kind == "c" else np.float64
    one, other = expected.astype(kind), actual.astype(kind)
    with np.errstate(all="ignore"):
        scale = np.abs(one[np.isfinite(one)]).max(initial=0)
        allowed = _ATOL + _SCALE * scale + _RTOL * np.abs(one) + 10 * np.where(np.isfinite(noise), noise, np.inf)
        if expected.dtype.kind in "iub":
            allowed = np.zeros_like(allowed)
        close = np.isfinite(one) & (np.abs(one - other) <= allowed)
        wrong = ~(close | (one == other) | np.isnan(one))
    if not wrong.any():
        return ""
    first = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return f"{wrong.sum()} of {wrong.size} differ, such as {actual[first]} instead of {expected[first]}"
