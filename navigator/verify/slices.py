"""Slices of an output that have different units, such as boxes in pixels beside scores, each judged by its own range.

A tolerance that is a fraction of the range of a whole output lets every score pass that stands beside a box.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Spreads that are this many times apart belong to different units.
_GAP = 10.0
# Slices below a gap are only a unit of their own if they're at least this part of all: rarely active features aren't.
_SHARE = 1 / 20
# Larger values may stand for infinity in masks: -1e4 and more, if they're alike, and all others smaller by this factor.
_MASKS = (9_999.0, 1e6, 1e9, 1e30)
_MASK_RANGE = 4.0
_MASK_FACTOR = 100.0
# What is converted at a time, in elements.
_PIECE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Slices of `axis` that have one unit, by their `indexes`; the range of the widest of them, and their tolerance."""

    axis: int
    indexes: tuple[int, ...]
    spread: float
    atol: float = 0.0


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
    low, high = (float(each[0]) for each in _unmasked(filled, 0))
    return (low, high) if low <= high else (0.0, 0.0)


def slice_bounds(arrays: Sequence[np.ndarray], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value of each slice of `axis`, likewise; an infinity where it has none."""
    return _unmasked([array for array in arrays if array.size], axis)


def slice_axes(arrays: Sequence[np.ndarray]) -> list[int]:
    """Return the axes whose slices may have units of their own, the first of them `channel_axis`."""
    return _axes([array.shape for array in arrays if array.size])


def mask_level(arrays: Sequence[np.ndarray]) -> float:
    """Return the magnitude from which the values of an output are masks, infinity if it has none; it isn't empty."""
    filled = [array.reshape(1, -1) for array in arrays if array.size]
    return next((level for level in _MASKS if _masked(filled, 0, level)[0].any()), np.inf)


def channel_axis(arrays: Sequence[np.ndarray]) -> int | None:
    """Return the axis of channels, classes or coordinates: axis 1 or the last, the first that `units` considers."""
    return next(iter(slice_axes(arrays)), None)


def errors(pairs: Sequence[tuple[np.ndarray, np.ndarray]], axis: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of each slice of `axis`, and its largest error, without values of the magnitude `level`."""
    size = pairs[0][0].shape[axis]
    largest = np.zeros(size)
    for reference, value in pairs:
        for left, right in zip(_pieces(reference, axis), _pieces(value, axis), strict=True):
            error = np.abs(right - left)
            chosen = np.isfinite(error) & (np.abs(left) < level)
            np.maximum(largest, error.max(axis=(0, 2), where=chosen, initial=0.0), out=largest)
    return _spreads([left for left, _ in pairs if left.size], axis), largest


def units(arrays: Sequence[np.ndarray]) -> tuple[Unit, ...]:
    """Return the units of an output, the widest first, or () if there is one.

    The axis is axis 1 or the last: the one whose slices differ more. Axes of different sizes in different samples, and
    neighbours of equal size, such as height and width, don't count. Slices are sorted by the range of their values,
    without masks; a unit ends where the next range is 10 times smaller, if 5 % of the slices or more are below.
    Constant slices belong to the narrowest unit. Slices with values from 0 to 1 have one unit: they're scores.

    Args:
        arrays: one output in every sample.
    """
    found: tuple[Unit, ...] = ()
    widest = 1.0
    filled = [array for array in arrays if array.size]
    for axis in slice_axes(filled):
        spreads = _spreads(filled, axis)
        low, high = _bounds(filled, axis, 0.0, np.inf)
        groups = _merged(_groups(spreads), (low >= 0) & (high <= 1))
        groups.sort(key=lambda group: -float(spreads[group].max()))
        ratio = float(spreads[groups[0]].max() / spreads[groups[-1]].max()) if len(groups) > 1 else 1.0
        if ratio > widest:
            widest = ratio
            found = tuple(
                Unit(axis=axis, indexes=tuple(sorted(map(int, group))), spread=float(spreads[group].max()))
                for group in groups
            )
    return found


def _axes(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    rank = len(shapes[0]) if shapes else 0
    if rank < 2 or any(len(shape) != rank for shape in shapes):
        return []
    fixed = [axis for axis in {1: None, rank - 1: None} if len({shape[axis] for shape in shapes}) == 1]
    shape = shapes[0]
    beside = {axis: [each for each in (axis - 1, axis + 1) if 1 <= each < rank] for axis in fixed}
    return [axis for axis in fixed if shape[axis] > 1 and all(shape[each] != shape[axis] for each in beside[axis])]


def _groups(spreads: np.ndarray) -> list[np.ndarray]:
    """Return the indexes of each unit, the widest first."""
    live = np.flatnonzero(spreads > 0)
    order = live[np.argsort(-spreads[live], kind="stable")]
    sizes = spreads[order]
    below = np.arange(len(order) - 1, 0, -1)
    cuts = np.flatnonzero((sizes[:-1] >= _GAP * sizes[1:]) & (below >= _SHARE * len(order))) + 1
    groups = np.split(order, cuts)
    groups[-1] = np.concatenate([groups[-1], np.flatnonzero(spreads == 0)])
    return groups


def _merged(groups: Sequence[np.ndarray], scores: np.ndarray) -> list[np.ndarray]:
    """Return the groups, those of nothing but scores as one: rare classes have the same unit as frequent ones."""
    mixed = [group for group in groups if not scores[group].all()]
    alike = [group for group in groups if scores[group].all()]
    return [*mixed, *([np.concatenate(alike)] if alike else [])]


def _spreads(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Return the range of the finite values of each slice of `axis`, without masks; 0 if there are none."""
    low, high = _unmasked(arrays, axis)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.minimum(np.fmax(high - low, 0.0), np.finfo(np.float64).max))


def _unmasked(arrays: Sequence[np.ndarray], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the finite values of each slice of `axis`, without masks."""
    low, high = _bounds(arrays, axis, 0.0, np.inf)
    for level in _MASKS:
        if not (np.maximum(-low, high) >= level).any():
            break
        masked, inner_low, inner_high = _masked(arrays, axis, level)
        low, high = np.where(masked, inner_low, low), np.where(masked, inner_high, high)
    return low, high


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
        for piece in _pieces(array, axis):
            magnitude = np.abs(piece)
            chosen = (magnitude >= least) & (magnitude < most)
            np.minimum(low, piece.min(axis=(0, 2), where=chosen, initial=np.inf), out=low)
            np.maximum(high, piece.max(axis=(0, 2), where=chosen, initial=-np.inf), out=high)
    return low, high


def _pieces(array: np.ndarray, axis: int) -> Iterator[np.ndarray]:
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
