"""The range of values, whole or slice by slice, without what isn't finite and without masks. NumPy only."""

from collections.abc import Iterator, Sequence

import numpy as np

# Larger values may stand for infinity in masks: -1e4 and more, if they're alike, and all others smaller by this factor.
_MASKS = (9_999.0, 1e6, 1e9, 1e30)
_MASK_RANGE = 4.0
_MASK_FACTOR = 100.0
# What is converted at a time, in elements.
_PIECE = 2**20


def spread(arrays: Sequence[np.ndarray]) -> float:
    """Return the range of all finite values that aren't masks; 0 if there are none."""
    low, high = bounds(arrays)
    with np.errstate(over="ignore"):
        return float(np.minimum(np.float64(high) - low, np.finfo(np.float64).max))


def bounds(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the lowest and the highest finite value that isn't a mask, (0, 0) if there are none.

    Complex numbers count as their real and imaginary parts.
    """
    filled = [array.reshape(1, -1).view(array.real.dtype) for array in arrays if array.size]
    if not filled:
        return 0.0, 0.0
    low, high = (float(each[0]) for each in slice_bounds(filled, 0))
    return (low, high) if low <= high else (0.0, 0.0)


def slice_bounds(arrays: Sequence[np.ndarray], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value of each slice of `axis`, likewise; an infinity where it has none."""
    arrays = [array for array in arrays if array.size]
    low, high = _bounds(arrays, axis, 0.0, np.inf)
    for level in _MASKS:
        if not (np.maximum(-low, high) >= level).any():
            break
        masked, inner_low, inner_high = _masked(arrays, axis, level)
        low, high = np.where(masked, inner_low, low), np.where(masked, inner_high, high)
    return low, high


def mask_level(arrays: Sequence[np.ndarray]) -> float:
    """Return the magnitude from which the values of an output are masks, infinity if it has none."""
    filled = [array.reshape(1, -1) for array in arrays if array.size]
    if not filled:
        return np.inf
    return next((level for level in _MASKS if _masked(filled, 0, level)[0].any()), np.inf)


def tables(array: np.ndarray, axis: int) -> Iterator[np.ndarray]:
    """Yield parts of an array in float64, with `axis` between what is before and what is after it."""
    if not array.size:
        return
    size = array.shape[axis]
    table = array.reshape(int(np.prod(array.shape[:axis])), size, -1)
    inner = max(1, _PIECE // size)
    outer = max(1, _PIECE // (size * min(inner, table.shape[2])))
    for row in range(0, table.shape[0], outer):
        for column in range(0, table.shape[2], inner):
            yield table[row : row + outer, :, column : column + inner].astype(np.float64)


def _masked(arrays: Sequence[np.ndarray], axis: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which slices have masks of at least `level`, and the bounds of each slice's smaller values."""
    low, high = _bounds(arrays, axis, 0.0, level)
    others = np.maximum(-low, high)
    nearest, furthest = _bounds([np.abs(array) for array in arrays], axis, level, np.inf)
    alike = furthest / _MASK_RANGE <= nearest
    return np.isfinite(nearest) & alike & (others > 0) & (nearest >= _MASK_FACTOR * others), low, high


def _bounds(arrays: Sequence[np.ndarray], axis: int, least: float, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of each slice whose magnitude is in [least, most)."""
    size = arrays[0].shape[axis]
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for array in arrays:
        others = tuple(each for each in range(array.ndim) if each != axis)
        lowest, highest = (array.min(others), array.max(others)) if least == 0 and most == np.inf else (np.nan, np.nan)
        if np.isfinite(lowest).all() and np.isfinite(highest).all():
            np.minimum(low, lowest, out=low)
            np.maximum(high, highest, out=high)
            continue
        for piece in tables(array, axis):
            magnitude = np.abs(piece)
            chosen = (magnitude >= least) & (magnitude < most)
            np.minimum(low, piece.min(axis=(0, 2), where=chosen, initial=np.inf), out=low)
            np.maximum(high, piece.max(axis=(0, 2), where=chosen, initial=-np.inf), out=high)
    return low, high
