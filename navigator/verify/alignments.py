"""How one tensor lies in another: as it is, with its axes in another order, or with a factor for each channel.

Exporters transpose weights, and fold a batch normalization into them. Tries every such layout on a few elements, and
compares all of them in the first one that fits. NumPy only.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

NEAR = 1e-6
"""How far apart numbers are, relative to them, that float32 rounds twice."""

TINY = 1e-37
"""Numbers below this may be flushed to zero."""

# More axes aren't permuted, since nothing does.
_MOST_AXES = 5

# Channels, elements of each, and elements without channels to try a layout on.
_CHANNELS, _ELEMENTS, _ALONE = 12, 12, 64

# A layout fits if so many of the elements agree: some weights may be wrong.
_FITTING = 0.6

# Fewer elements of a channel don't show whether they share a factor.
_FEWEST = 3

# From how many of a channel's elements its factor is taken.
_MEDIAN_OF = 63

# Fits into a core's cache.
_PIECE = 2**16


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of the source's axes, and the axis of the result whose channels have factors; both without ones.

    `axis` is -1 if one factor is for all, and None without factors.
    """

    order: tuple[int, ...]
    axis: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far a tensor is from the source's in a layout.

    Args:
        layout: how it lies.
        agreeing: how many numbers agree that say something: finite, and not 0.
        informative: of how many.
        differing: how many numbers don't.
        worst: the position of the largest difference, relative to the numbers, in the flat tensor.
        gap: that difference.
        expected: what should be there.
        value: what is.
        factors: of each channel, None without any.
    """

    layout: Layout
    agreeing: int
    informative: int
    differing: int = 0
    worst: int = 0
    gap: float = 0.0
    expected: float = 0.0
    value: float = 0.0
    factors: np.ndarray | None = None


def layouts(source: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[Layout]:
    """Yield how a tensor of one shape may lie in one of another, the simplest first. Both have as many elements."""
    before, after = squeezed(source), squeezed(shape)
    count = len(before)
    orders = list(itertools.permutations(range(count))) if count <= _MOST_AXES else [tuple(range(count))]
    if sorted(before) == sorted(after):
        orders = [each for each in orders if tuple(before[axis] for axis in each) == after] or orders
    for axis in (None, -1, *range(len(after))):
        if axis is not None and (len(after) < 2 or _each(after, axis) < _FEWEST):
            continue
        for order in orders:
            yield Layout(order, axis)


def arranged(source: np.ndarray, shape: tuple[int, ...], layout: Layout) -> np.ndarray:
    """Return the source's tensor as it lies in a tensor of that shape, without axes of one; a view if it can be."""
    return source.reshape(squeezed(source.shape)).transpose(layout.order).reshape(squeezed(shape))


def place(position: int, source: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Return the index in the source's tensor of a position in the flat tensor."""
    before = squeezed(source)
    found = dict(zip(layout.order, np.unravel_index(position, [before[axis] for axis in layout.order]), strict=True))
    inside = iter(int(found[axis]) for axis in range(len(before)))
    return tuple(0 if size == 1 else next(inside) for size in source)


def fits(source: np.ndarray, values: np.ndarray, layout: Layout, near: float = NEAR) -> bool:
    """Return whether a few elements agree in a layout, as near as that."""
    rows = _rows(squeezed(values.shape), layout.axis)
    right = values.reshape(-1)[rows].astype(np.float64)
    before = squeezed(source.shape)
    index = np.unravel_index(rows, [before[axis] for axis in layout.order]) if before else ()
    own = [index[layout.order.index(axis)] for axis in range(len(before))]
    left = source.reshape(before)[tuple(own)].reshape(rows.shape).astype(np.float64)
    says = np.isfinite(left) & np.isfinite(right) & ((left != 0) | (right != 0))
    if not says.any():
        return layout.axis is None
    with np.errstate(all="ignore"):
        if layout.axis is not None:
            left = left * _factors(left, right)[:, None]
        agree = np.abs(right - left) <= near * np.abs(left) + TINY
    return float(agree[says].mean()) >= _FITTING


def difference(source: np.ndarray, values: np.ndarray, layout: Layout) -> Difference:
    """Compare all numbers of a tensor with the source's in a layout."""
    left = arranged(source, values.shape, layout)
    right = values.reshape(squeezed(values.shape))
    if not left.ndim:
        left, right = left.reshape(1), right.reshape(1)
    factors = None if layout.axis is None else channel_factors(left, right, layout.axis)
    spread = np.ones((), np.float32) if factors is None else _spread(factors, right.ndim, layout.axis or 0)
    found = _Tally()
    step = max(1, _PIECE // max(1, right[0].size))
    for start in range(0, len(right), step):
        piece = slice(start, start + step)
        factor = spread[piece] if spread.ndim and spread.shape[0] > 1 else spread
        found.note(left[piece], right[piece], factor, start * right[0].size)
    return Difference(
        layout=layout,
        agreeing=found.agreeing,
        informative=found.informative,
        differing=found.differing,
        worst=found.worst,
        gap=found.gap,
        expected=found.expected,
        value=found.value,
        factors=factors,
    )


@dataclass(slots=True)
class _Tally:
    """What pieces of a tensor add up to; see `Difference`."""

    agreeing: int = 0
    informative: int = 0
    differing: int = 0
    worst: int = 0
    gap: float = 0.0
    expected: float = 0.0
    value: float = 0.0

    def note(self, left: np.ndarray, right: np.ndarray, factor: np.ndarray, start: int) -> None:
        """Compare a piece that starts at a position of the flat tensor."""
        with np.errstate(all="ignore"):
            wanted = left * factor
            near = right == wanted  # most are: a fraction of what the next line takes
            if not near.all():
                near = np.abs(right - wanted) <= NEAR * np.abs(wanted) + TINY
        if near.all():
            count = int(np.count_nonzero((right != 0) & np.isfinite(right)))
            self.agreeing += count
            self.informative += count
            return
        wanted, given = wanted.astype(np.float64), right.astype(np.float64)
        near |= (given == wanted) | (np.isnan(given) & np.isnan(wanted))
        says = np.isfinite(given) & np.isfinite(wanted) & ((given != 0) | (wanted != 0))
        self.informative += int(says.sum())
        self.agreeing += int((near & says).sum())
        wrong = np.flatnonzero(~near)
        self.differing += wrong.size
        if not wrong.size:
            return
        with np.errstate(all="ignore"):
            apart = np.abs(given.flat[wrong] - wanted.flat[wrong])
            parts = apart / np.maximum(np.abs(wanted.flat[wrong]), np.abs(given.flat[wrong]))
        parts = np.where(np.isfinite(parts), parts, 1.0)
        most = int(parts.argmax())
        if parts[most] > self.gap:
            at = int(wrong[most])
            self.gap, self.worst = float(parts[most]), start + at
            self.expected, self.value = float(wanted.flat[at]), float(given.flat[at])


def channel_factors(left: np.ndarray, right: np.ndarray, axis: int) -> np.ndarray:
    """Return the factor of each channel: the median of a few of its elements' quotients."""
    few = []
    for each in (left, right):
        rows = each.reshape(1, -1) if axis < 0 else np.moveaxis(each, axis, 0)
        rows = rows.reshape(len(rows), -1)
        few.append(rows[:, _spaced(rows.shape[1])].astype(np.float64))
    return _factors(*few)


@cache
def _spaced(count: int) -> np.ndarray:
    """Return some positions of so many, from the first to the last."""
    return np.linspace(0, count - 1, min(count, _MEDIAN_OF)).astype(int)


def _factors(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the median quotient of each row, 1 where there's none."""
    with np.errstate(all="ignore"):
        quotients = np.where((left != 0) & np.isfinite(left) & np.isfinite(right), right / left, np.nan)
    known = np.isfinite(quotients)
    ordered = np.sort(np.where(known, quotients, np.inf), axis=1)
    middle = np.maximum(known.sum(axis=1) - 1, 0) // 2
    found = ordered[np.arange(len(ordered)), middle]
    return np.where(np.isfinite(found), found, 1.0)


@cache
def _rows(shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """Return positions in a flat tensor: those of a few elements of a few channels, or of one row without channels."""
    draw = np.random.default_rng(0)
    if axis is None or axis < 0:
        return _drawn(draw, math.prod(shape), _ALONE)[None]
    channels = draw.permutation(shape[axis])[:_CHANNELS]
    others = _each(shape, axis)
    few = np.stack([_drawn(draw, others, _ELEMENTS) for _ in channels])
    inner = math.prod(shape[axis + 1 :])
    found: np.ndarray = (few // inner) * (inner * shape[axis]) + channels[:, None] * inner + few % inner
    return found


def _drawn(draw: np.random.Generator, count: int, most: int) -> np.ndarray:
    """Return so many different positions; of very many, some may be alike."""
    return draw.permutation(count)[:most] if count < 10 * most else draw.integers(count, size=most)


def _each(shape: tuple[int, ...], axis: int) -> int:
    """Return how many elements a channel has."""
    return math.prod(shape) // (shape[axis] if axis >= 0 else 1)


def _spread(factors: np.ndarray, axes: int, axis: int) -> np.ndarray:
    shape = [-1 if each == axis else 1 for each in range(axes)] if axis >= 0 else []
    return factors.astype(np.float32).reshape(shape)


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without axes of one."""
    return tuple(size for size in shape if size != 1)
