"""How much of an output a reduced precision keeps: numbers that describe it as a whole, beside the largest error.

Measured and shown. Tolerances decide whether an output passes; see `navigator.verify.exceptions` for what else does,
and `navigator.verify.gates` for the user's own limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from navigator.ranges import mask_level
from navigator.records import Agreement, Decisions, WorstSlice
from navigator.verify.differences import pieces
from navigator.verify.slices import channel_axis, errors

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]

# Slices whose range is less than this part of the widest one's are constant, as unused features are.
_CONSTANT = 1e-3


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


def agreement(pairs: Pairs, decided: Decisions | None = None) -> Agreement | None:
    """Return how well the values of an output agree with the source model's, None if there are none.

    Args:
        pairs: (reference, value) of each sample, of the same shape and dtype.
        decided: what it decides, see `navigator.verify.decisions`.
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
            decisions=decided,
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
