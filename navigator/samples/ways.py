"""Ways to fill an array within its bounds, and to change a part of one: what inputs have in common that show faults.

Knows no samples and no shapes beyond those of one array. The same generator gives the same values.
"""

from collections.abc import Callable, Sequence
from types import EllipsisType

import numpy as np

from navigator.samples.symbols import Shape
from navigator.samples.values import Bounds, ends, uniform

Way = Callable[[np.random.Generator, Shape, Bounds], np.ndarray]


def _small(rng: np.random.Generator, shape: Shape, bounds: Bounds) -> np.ndarray:
    """Draw around 0, or around an end, at any scale."""
    anchor = 0.0 if bounds.holds(0) else float(rng.choice([bounds.low, bounds.high]))
    scale = 10.0 ** -rng.uniform(0, 6)
    values = anchor + (uniform(rng, shape, bounds).astype(np.float64) - anchor) * scale
    return _cast(values, bounds)


def _flat(rng: np.random.Generator, shape: Shape, bounds: Bounds) -> np.ndarray:
    return np.full(shape, _value(rng, bounds), bounds.dtype)


def _sparse(rng: np.random.Generator, shape: Shape, bounds: Bounds) -> np.ndarray:
    return np.where(rng.random(shape) < rng.random() ** 2, uniform(rng, shape, bounds), _flat(rng, shape, bounds))


def _striped(rng: np.random.Generator, shape: Shape, bounds: Bounds) -> np.ndarray:
    """Draw values that are the same along some axes."""
    same = rng.random(len(shape)) < 0.5
    narrow = tuple(1 if alike else size for alike, size in zip(same, shape, strict=True))
    return np.array(np.broadcast_to(uniform(rng, narrow, bounds), shape))


def _skewed(rng: np.random.Generator, shape: Shape, bounds: Bounds) -> np.ndarray:
    """Draw mostly near one end."""
    power = 2.0 ** rng.uniform(-4, 4)
    share = rng.random(shape) ** power
    return _cast(bounds.low * (1 - share) + bounds.high * share, bounds)


WAYS: tuple[Way, ...] = (uniform, ends, _small, _flat, _sparse, _striped, _skewed)
"""All ways, each as good as the others."""


def patch(rng: np.random.Generator, row: np.ndarray, bounds: Bounds) -> None:
    """Change one place of an array in place: an element, a slice of an axis, or the part before or after."""
    if not row.size:
        return
    where: list[slice] = [slice(None)] * row.ndim
    kind = rng.random()
    axes = [axis for axis, size in enumerate(row.shape) if size > 1]
    for axis in axes if kind < 0.5 else [int(rng.choice(axes))] if axes else []:
        start = int(rng.integers(row.shape[axis]))
        where[axis] = slice(start, start + 1) if kind < 0.8 else slice(start, None) if kind < 0.9 else slice(start)
    # Without the dots, an array without axes gives a number, which isn't a part of it.
    within: tuple[slice | EllipsisType, ...] = (*where, ...)
    place = row[within]
    if rng.random() < 0.7:
        place[...] = _value(rng, bounds)
    else:
        place[...] = WAYS[rng.integers(len(WAYS))](rng, place.shape, bounds)


def scaled(array: np.ndarray, axis: int | None, powers: Sequence[float]) -> np.ndarray:
    """Return floats times ten to a power, in every row along `axis` to one of its own: the first is the first row's."""
    rows = 1 if axis is None else array.shape[axis]
    factors = 10.0 ** np.resize(np.array(powers, np.float64), rows)
    with np.errstate(over="ignore"):
        shape = [rows if place == axis else 1 for place in range(array.ndim)]
        return np.asarray(array * factors.reshape(shape)).astype(array.dtype)


def _value(rng: np.random.Generator, bounds: Bounds) -> int | float:
    """Return an end, 0 if it's in the range, or any value."""
    kind = int(rng.integers(4))
    if kind < 2:
        return bounds.high if kind else bounds.low
    return 0 if kind == 2 and bounds.holds(0) else uniform(rng, (1,), bounds)[0].item()


def _cast(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    if bounds.dtype.kind == "f":
        return np.asarray(np.clip(values, bounds.low, bounds.high).astype(bounds.dtype))
    with np.errstate(all="ignore"):
        return np.asarray(np.clip(np.rint(values).astype(bounds.dtype), bounds.low, bounds.high))
