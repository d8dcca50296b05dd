"""The differences between two arrays of the same shape and dtype: the arithmetic of `navigator.verify.compare`.

Exact for every dtype, with bounded memory: arrays may be mapped files of any size, and only pieces of them are
converted. Knows nothing about outputs, names or messages.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from navigator.records import DISTRIBUTION

# Small enough for the pieces and their float64 copies to stay in the processor's cache.
_PIECE = 2**16


@dataclass(kw_only=True, slots=True)
class Tally:
    """The differences found so far in the samples of one output.

    `largest_excess` is the largest |value - reference| - (atol + rtol * |reference|), at `worst`, as (sample number,
    index). `low` and `high` bound the finite reference values; a complex number counts as its magnitude.

    Equal infinities match, as in numpy.isclose, with an error of 0; `infinite` counts them. `reference_nan`,
    `reference_infinite` and `value_non_finite` count the other elements that aren't finite, by the first that applies;
    `first_non_finite` is the position of the first of those.

    `distribution` counts errors as `Comparison.distribution` does.
    """

    total: int = 0
    mismatched: int = 0
    error_sum: float = 0.0
    magnitude_sum: float = 0.0
    max_abs_error: float = 0.0
    max_rel_error: float | None = None
    largest_excess: float = -math.inf
    worst: tuple[int, tuple[int, ...]] | None = None
    low: float = math.inf
    high: float = -math.inf
    compared: int = 0
    infinite: int = 0
    reference_nan: int = 0
    reference_infinite: int = 0
    value_non_finite: int = 0
    first_non_finite: tuple[int, tuple[int, ...]] | None = None
    distribution: list[int] = field(default_factory=lambda: [0] * (len(DISTRIBUTION) + 2))


def pieces(reference: np.ndarray, value: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (position, piece of reference, same piece of value), one-dimensional and in C order."""
    left, right = _flat(reference), _flat(value)
    for start in range(0, reference.size, _PIECE):
        yield start, np.asarray(left[start : start + _PIECE]), np.asarray(right[start : start + _PIECE])


def differences(reference: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |value - reference| and |reference| as float64, for one-dimensional pieces of one dtype.

    64-bit integers are subtracted as integers, since float64 holds only those up to 2**53. The smaller types are
    exact in float64, and float16 cannot overflow there.
    """
    kind, size = reference.dtype.kind, reference.dtype.itemsize
    if kind in "iu" and size == 8:
        # Modulo 2**64 the larger minus the smaller is right, signed or not.
        left, right = reference.astype(np.uint64), value.astype(np.uint64)
        distance = np.where(value > reference, right - left, left - right)
        return distance.astype(np.float64), np.abs(reference.astype(np.float64))
    wide = np.complex128 if kind == "c" else np.float64
    reference = reference.astype(wide)
    return np.abs(value.astype(wide) - reference), np.abs(reference)


def tally(totals: Tally, number: int, reference: np.ndarray, value: np.ndarray, atol: float, rtol: float) -> None:
    """Add one sample's arrays, of the same shape and dtype, to `totals`.

    Errors beyond float64 count as infinite. Relative errors leave out elements whose reference is 0.
    """
    totals.total += reference.size
    with np.errstate(all="ignore"):
        for start, left, right in pieces(reference, value):
            distance, magnitude = differences(left, right)
            where = None
            error_sum = float(distance.sum())
            if not math.isfinite(error_sum):
                where = _finite(totals, number, start, left, right, reference.shape)
                left, distance, magnitude = left[where], distance[where], magnitude[where]
                error_sum = float(distance.sum())
            if not distance.size:
                continue
            totals.compared += distance.size
            totals.error_sum += error_sum
            totals.magnitude_sum += float(magnitude.sum())
            totals.max_abs_error = max(totals.max_abs_error, float(distance.max()))
            _add_relative(totals, distance, magnitude)
            ranged = magnitude if left.dtype.kind == "c" else left
            totals.low, totals.high = min(totals.low, float(ranged.min())), max(totals.high, float(ranged.max()))
            allowed = magnitude * rtol + atol
            _add_distribution(totals, distance, allowed)
            excess = distance - allowed
            totals.mismatched += int(np.count_nonzero(excess > 0))
            position = int(np.argmax(excess))
            if math.isnan(excess[position]):
                # Error and tolerance are both beyond float64: within tolerance, as numpy.isclose has it.
                excess = np.where(np.isnan(excess), 0.0, excess)
                position = int(np.argmax(excess))
            if excess[position] > totals.largest_excess:
                totals.largest_excess = float(excess[position])
                at = start + (position if where is None else int(where[position]))
                totals.worst = (number, _index(at, reference.shape))


def _add_distribution(totals: Tally, distance: np.ndarray, allowed: np.ndarray) -> None:
    """Count errors by how much of their tolerance they are."""
    exact = distance.size - int(np.count_nonzero(distance))
    below = [max(exact, int(np.count_nonzero(distance <= limit * allowed))) for limit in DISTRIBUTION]
    for place, (low, high) in enumerate(pairwise((0, exact, *below, distance.size))):
        totals.distribution[place] += high - low


def needed_atol(reference: np.ndarray, value: np.ndarray, rtols: Sequence[float]) -> list[float]:
    """Return, for each of `rtols`, the smallest atol with which every element matches; only infinities may be equal."""
    needed = [0.0] * len(rtols)
    with np.errstate(all="ignore"):
        for _, left, right in pieces(reference, value):
            finite = np.isfinite(left)
            if not finite.all():
                left, right = left[finite], right[finite]
            if not left.size:
                continue
            distance, magnitude = differences(left, right)
            for place, rtol in enumerate(rtols):
                rest = float((distance - magnitude * rtol).max())
                # The rounded difference may lie below the exact one; one step up it does not.
                needed[place] = max(needed[place], math.nextafter(rest, math.inf) if rtol and rest > 0 else rest)
    return needed


def variation(arrays: Sequence[np.ndarray], enough: float) -> float | None:
    """Return how much finite outputs differ between inputs, None where that cannot be judged.

    Outputs of one shape are compared whole, and those that differ in axis 0, the batch, as far as both have rows: the
    largest difference at any one place. If there are none, rows are compared with each other. Stops as soon as the
    variation exceeds `enough`.
    Arrays in C order are not copied. An infinity that doesn't change doesn't vary.
    """
    whole: dict[tuple[int, ...], list[np.ndarray]] = {}
    rows: dict[tuple[int, ...], list[np.ndarray]] = {}
    for array in arrays:
        if array.dtype.kind == "c":
            return None
        if not array.size:
            continue
        whole.setdefault(array.shape, []).append(array.reshape(1, -1))
        if array.ndim:
            rows.setdefault(array.shape[1:], []).append(array.reshape(array.shape[0], -1))
    comparable = [group for group in whole.values() if len(group) > 1]
    comparable += [pair for group in rows.values() for pair in _beside_the_longest(group)]
    comparable = comparable or [group for group in rows.values() if sum(map(len, group)) > 1]
    largest = None
    for group in comparable:
        for start in range(0, group[0].shape[1], _PIECE):
            columns = [table[:, start : start + _PIECE] for table in group]
            high = np.max([part.max(axis=0) for part in columns], axis=0)
            low = np.min([part.min(axis=0) for part in columns], axis=0)
            with np.errstate(over="ignore", invalid="ignore"):
                spread = float(np.fmax(high.astype(np.float64) - low.astype(np.float64), 0.0).max())
            largest = max(largest or 0.0, spread)
            if largest > enough:
                return largest
    return largest


def _beside_the_longest(group: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return the rows of each array, and those that the longest one has in their place, as one row each."""
    longest, *others = sorted(group, key=len, reverse=True)
    return [[longest[: len(each)].reshape(1, -1), each.reshape(1, -1)] for each in others]


def bounded(error: float) -> float:
    """Return an error that every file format can hold: infinity as the largest float."""
    return min(error, sys.float_info.max)


def _flat(array: np.ndarray) -> Any:
    """Return what can be sliced in C order without copying all of `array`."""
    return array.reshape(-1) if array.flags.c_contiguous else array.flat


def _index(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.unravel_index(position, shape))


def _finite(
    totals: Tally, number: int, start: int, reference: np.ndarray, value: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Count the elements that aren't finite, as mismatches unless they're equal; return the positions of the others."""
    fine = np.isfinite(reference) & np.isfinite(value)
    alike = ~fine & (reference == value)
    unlike = ~fine & ~alike
    nan, infinite = unlike & np.isnan(reference), unlike & np.isinf(reference)
    totals.infinite += int(np.count_nonzero(alike))
    totals.compared += int(np.count_nonzero(alike))
    totals.mismatched += int(np.count_nonzero(unlike))
    totals.reference_nan += int(np.count_nonzero(nan))
    totals.reference_infinite += int(np.count_nonzero(infinite))
    totals.value_non_finite += int(np.count_nonzero(unlike & ~nan & ~infinite))
    if totals.first_non_finite is None and unlike.any():
        totals.first_non_finite = (number, _index(start + int(np.argmax(unlike)), shape))
    return np.flatnonzero(fine)


def _add_relative(totals: Tally, distance: np.ndarray, magnitude: np.ndarray) -> None:
    ratio = distance / magnitude
    largest = float(ratio.max())
    if not math.isfinite(largest):
        # A reference of 0 has no relative error.
        ratio = ratio[magnitude > 0]
        if not ratio.size:
            return
        largest = float(ratio.max())
    totals.max_rel_error = largest if totals.max_rel_error is None else max(totals.max_rel_error, largest)
