"""How much of an output a reduced precision keeps: numbers that describe it as a whole, beside the largest error.

Measured and shown. Tolerances decide whether an output passes; see `navigator.verify.scores` for the one exception.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.records import Agreement, Decisions, WorstSlice
from navigator.verify.binomial import upper_bound
from navigator.verify.differences import pieces
from navigator.verify.slices import channel_axis, errors, mask_level

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]

# Slices whose range is less than this part of the widest one's are constant, as unused features are.
_CONSTANT = 1e-3

# Probabilities of one decision add up to 1, but for the rounding of float16.
_SUM_ERROR = 0.01


@dataclass(kw_only=True, slots=True)
class _Sums:
    """Sums over the finite elements that aren't masks."""

    count: int = 0
    reference: float = 0.0
    signal: float = 0.0
    value: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    differing: int = 0


def agreement(pairs: Pairs) -> Agreement | None:
    """Return how well the values of an output agree with the source model's, None if there are none.

    Args:
        pairs: (reference, value) of each sample, of the same shape and dtype.
    """
    kind = pairs[0][0].dtype.kind if pairs else ""
    if kind not in "biuf" or not any(left.size for left, _ in pairs):
        return None
    lefts = [left for left, _ in pairs]
    level = mask_level(lefts) if kind == "f" else math.inf
    with np.errstate(all="ignore"):
        sums = _sums(pairs, level)
        if not sums.count:
            return None
        if kind != "f":
            return Agreement(differing=sums.differing / sums.count)
        return Agreement(
            relative_l2=_ratio(math.sqrt(sums.noise), math.sqrt(sums.signal)),
            cosine=_cosine(sums),
            sqnr_db=_decibels(sums.signal, sums.noise),
            explained=_explained(sums),
            worst_slice=_worst_slice(pairs, level),
            decisions=_decisions(pairs),
        )


def _sums(pairs: Pairs, level: float) -> _Sums:
    sums = _Sums()
    for reference, value in pairs:
        for _, left, right in pieces(reference, value):
            wide, other = left.astype(np.float64), right.astype(np.float64)
            fine = np.isfinite(wide) & np.isfinite(other) & (np.abs(wide) < level)
            if not fine.all():
                wide, other = wide[fine], other[fine]
            sums.count += wide.size
            sums.reference += float(wide.sum())
            sums.signal += _product(wide, wide)
            sums.value += _product(other, other)
            sums.product += _product(wide, other)
            error = other - wide
            sums.noise += _product(error, error)
            sums.differing += int(np.count_nonzero(error))
    return sums


def _product(one: np.ndarray, other: np.ndarray) -> float:
    # Not with @, whose threads fight with the workers' for the cores.
    return float(np.einsum("i,i", one, other))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole and math.isfinite(whole) and math.isfinite(part / whole) else None


def _cosine(sums: _Sums) -> float | None:
    found = _ratio(sums.product, math.sqrt(sums.signal) * math.sqrt(sums.value))
    return None if found is None else max(-1.0, min(1.0, found))


def _decibels(signal: float, noise: float) -> float | None:
    ratio = _ratio(signal, noise)
    return 10 * math.log10(ratio) if ratio else None


def _explained(sums: _Sums) -> float | None:
    """Return the part of the variance that is explained: 1 - noise / variance, 0 for a constant of the same mean."""
    lost = _ratio(sums.noise, sums.signal - sums.reference * (sums.reference / sums.count))
    return None if lost is None or lost < 0 else 1 - lost


def _worst_slice(pairs: Pairs, level: float) -> WorstSlice | None:
    """Return the slice with the largest error relative to its own range, of those that aren't all but constant."""
    axis = channel_axis([left for left, _ in pairs])
    if axis is None:
        return None
    spreads, largest = errors(pairs, axis, level)
    share = np.where(spreads > _CONSTANT * spreads.max(), largest / spreads, 0.0)
    index = int(np.argmax(share))
    if not share[index] > 0:
        return None
    return WorstSlice(axis=axis, index=index, spread=float(spreads[index]), max_abs_error=float(largest[index]))


def _decisions(pairs: Pairs) -> Decisions | None:
    """Return how often the most probable class changes, and by how much the probabilities differ, if they are any."""
    rows = list(_probabilities(pairs))
    if not rows:
        return None
    count = sum(len(left) for left, _ in rows)
    flips = sum(int(np.count_nonzero(left.argmax(axis=1) != right.argmax(axis=1))) for left, right in rows)
    least = np.finfo(np.float32).tiny
    divergence = sum(
        float((left * (np.log(np.maximum(left, least)) - np.log(np.maximum(right, least)))).sum())
        for left, right in rows
    )
    return Decisions(
        count=count, flips=flips, flips_at_most=upper_bound(flips, count), divergence=max(0.0, divergence / count)
    )


def _probabilities(pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield tables of one decision a row if all rows are probabilities: along the last axis, or else along axis 1."""
    lefts = [left for left, _ in pairs]
    rank = lefts[0].ndim
    axes = [axis for axis in {rank - 1: None, 1: None} if 1 <= axis < rank]
    axis = next((axis for axis in axes if all(_add_up(left, axis) for left in lefts)), None)
    if axis is None:
        return
    for left, right in pairs:
        tables = (np.moveaxis(each, axis, -1).reshape(-1, each.shape[axis]) for each in (left, right))
        first, second = (table.astype(np.float64) for table in tables)
        yield first, second


def _add_up(array: np.ndarray, axis: int) -> bool:
    """Return whether slices of two classes or more are in [0, 1] and add up to 1."""
    if array.shape[axis] < 2 or not array.size:
        return False
    in_range = bool((array >= 0).all() and (array <= 1).all())
    return in_range and bool((np.abs(array.sum(axis=axis, dtype=np.float64) - 1) <= _SUM_ERROR).all())
