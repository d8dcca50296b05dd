"""Slices of an output that have different units, such as boxes in pixels beside scores, each judged by its own range.

A tolerance that is a fraction of the range of a whole output lets every score pass that stands beside a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from navigator.ranges import slice_bounds, tables

# Spreads that are this many times apart belong to different units.
_GAP = 10.0
# Slices below a gap are only a unit of their own if they're at least this part of all: rarely active features aren't.
_SHARE = 1 / 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Slices of `axis` that have one unit, by their `indexes`; the range of the widest of them, and their tolerance."""

    axis: int
    indexes: tuple[int, ...]
    spread: float
    atol: float = 0.0


def slice_axes(arrays: Sequence[np.ndarray]) -> list[int]:
    """Return the axes whose slices may have units of their own, the first of them `channel_axis`."""
    return _axes([array.shape for array in arrays if array.size])


def channel_axis(arrays: Sequence[np.ndarray]) -> int | None:
    """Return the axis of channels, classes or coordinates: axis 1 or the last, the first that `units` considers."""
    return next(iter(slice_axes(arrays)), None)


def errors(pairs: Sequence[tuple[np.ndarray, np.ndarray]], axis: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of each slice of `axis`, and its largest error, without values of the magnitude `level`."""
    size = pairs[0][0].shape[axis]
    largest = np.zeros(size)
    for reference, value in pairs:
        for left, right in zip(tables(reference, axis), tables(value, axis), strict=True):
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
        low, high = slice_bounds(filled, axis)
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
    low, high = slice_bounds(arrays, axis)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.minimum(np.fmax(high - low, 0.0), np.finfo(np.float64).max))
