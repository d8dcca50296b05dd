"""The source model's own rounding as a tolerance.

A float32 computation isn't exact: the same model gives other last digits in another batch, on other threads, or if a
weight changes by one step. A converted model that differs by no more than that can't be told from the source model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from navigator.ranges import mask_level, spread
from navigator.records import DEFAULT_TOLERANCE
from navigator.verify.differences import differences, pieces
from navigator.verify.outputs import Outputs, tolerance_of
from navigator.verify.systematic import Size, size

FACTOR = 5.0
"""How many times the measured noise is allowed. Right conversions were off by up to 3.5 times as much."""

# A tolerance of more than this part of an output's range isn't made: 1 %, which is what fp16 is allowed. For outputs
# in float16, 5 %, beyond which no tolerance is suggested either.
_LIMITS = {2: 0.05, 4: 0.01, 8: 0.01}

# How many times the noise a row changes, and how many of the values that do, if rows depend on each other.
_DEPENDENT, _MANY = 30.0, 0.1

# What is looked at to tell small values from large ones, at most, in elements of a sample.
_SAMPLED = 2**16


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """The noise of one output: its largest difference, the absolute tolerance made of it, and its size as a whole.

    `rejected` if the noise is too large to be rounding; the tolerance is then the strict one. `size` is None unless
    the tolerance is wider than that, and for float16, where most errors are 0 or one step. `apart` is how much a row
    changes when it's alone, if that's no rounding: the rows of a batch depend on each other.
    """

    largest: float
    atol: float
    rejected: bool = False
    size: Size | None = None
    apart: float | None = None


def measured(reference: Outputs, probes: Outputs, rtol: Mapping[str, float], batches: Outputs = ()) -> dict[str, Noise]:
    """Return the noise of each output of floats.

    The tolerance is `FACTOR` times the largest difference, and at least 1e-5. What `rtol` allows anyway doesn't widen
    it: differences of masks, and those of large values if they're in proportion to the values.

    Args:
        reference: (sample name, {output name: array}) of the source model.
        probes: (sample name, outputs) of the source model after changes that mean nothing mathematically.
        rtol: relative tolerance by output name, "" for all others.
        batches: likewise, after rows were run apart. It's noise as well, unless the rows depend on each other.
    """
    found: dict[str, Noise] = {}
    for name in dict.fromkeys(name for _, arrays in reference for name in arrays):
        values = [arrays[name] for _, arrays in reference if name in arrays]
        rounded, apart = (_pairs(reference, each, name) for each in (probes, batches))
        if not (rounded or apart):
            continue
        found[name] = _noise([*apart, *rounded], values, rtol, name, (apart, rounded))
        if found[name].rejected and rounded and apart:
            own = _noise(rounded, values, rtol, name, (rounded,))
            if not own.rejected and _are_far(apart, _DEPENDENT * max(own.largest, own.atol / FACTOR)):
                found[name] = replace(own, apart=_noise(apart, values, rtol, name, (apart,)).largest)
    return found


def notes(noise: Mapping[str, Noise]) -> Iterator[str]:
    """Yield what to tell of noise that's too large to be rounding."""
    for name, each in noise.items():
        if each.rejected:
            yield (
                f"{name}: rounding alone changes it by up to {each.largest:.2g} in the source model, which is too much "
                "of its range to make a tolerance of, so that it's compared strictly; set atol if that's expected"
            )


def warnings(noise: Mapping[str, Noise]) -> Iterator[str]:
    """Yield which outputs have rows that depend on each other."""
    for name, each in noise.items():
        if each.apart is not None:
            yield (
                f"{name}: the rows along the first axis depend on each other, as steps of a sequence or under a "
                f"condition on all of them: a row that is run alone changes by up to {each.apart:.2g}, and rounding by "
                f"{each.largest:.2g}; if they're a batch of independent items, the model may have been saved in "
                "training mode: call model.eval() in PyTorch, or pass training=False in Keras, before you save it"
            )


def _pairs(reference: Outputs, probes: Outputs, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    known = dict(reference)
    return [
        (known[sample][name], arrays[name])
        for sample, arrays in probes
        if name in arrays and sample in known and _comparable(known[sample].get(name), arrays[name])
    ]


def _are_far(pairs: Sequence[tuple[np.ndarray, np.ndarray]], limit: float) -> bool:
    """Return whether more values than a few differ by more than `limit`: a decision that flips changes few."""
    far = total = 0
    with np.errstate(all="ignore"):
        for one, other in pairs:
            for _, left, right in pieces(one, other):
                distance, _ = differences(left, right)
                # What stays, such as zeros behind a ReLU, says nothing.
                far, total = far + int(np.count_nonzero(distance > limit)), total + int(np.count_nonzero(distance))
    return far > _MANY * total


def _comparable(reference: np.ndarray | None, value: np.ndarray) -> bool:
    return (
        reference is not None
        and reference.dtype == value.dtype
        and reference.dtype.kind in "fc"
        and reference.shape == value.shape
    )


def _noise(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    reference: Sequence[np.ndarray],
    rtol: Mapping[str, float],
    name: str,
    kinds: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]],
) -> Noise:
    largest = unmasked = needed = 0.0
    allowed = tolerance_of(rtol, name)
    real = all(one.dtype.kind == "f" for one, _ in pairs)
    level = mask_level([one for one, _ in pairs]) if real else np.inf
    with np.errstate(all="ignore"):
        for one, other in pairs:
            for _, left, right in pieces(one, other):
                finite = np.isfinite(left) & np.isfinite(right)
                distance, magnitude = differences(left[finite], right[finite])
                largest = max(largest, float(distance.max(initial=0.0)))
                unmasked = max(unmasked, float(distance.max(initial=0.0, where=magnitude < level)))
                needed = max(needed, float((FACTOR * distance - allowed * magnitude).max(initial=0.0)))
        if FACTOR * unmasked > max(needed, DEFAULT_TOLERANCE):
            needed = max(needed, FACTOR * unmasked * _share_of_small_values(pairs, level))
    if needed <= DEFAULT_TOLERANCE:
        return Noise(largest=largest, atol=DEFAULT_TOLERANCE)
    itemsize = pairs[0][0].real.dtype.itemsize
    limit = _LIMITS.get(itemsize, 0.0) * spread(reference)
    if not needed <= limit:
        return Noise(largest=largest, atol=DEFAULT_TOLERANCE, rejected=True)
    return Noise(
        largest=largest, atol=float(f"{needed:.1e}"), size=_largest_size(kinds) if real and itemsize > 2 else None
    )


def _largest_size(kinds: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> Size:
    """Return the size of the noise of the kind of change that makes the most: another may hardly show."""
    # A run that changed nothing measured nothing: two batches often give the same sums as one.
    told = [[pair for pair in pairs if not np.array_equal(*pair, equal_nan=True)] for pairs in kinds]
    found = Size()
    for pairs in told:
        found = found.larger(size(pairs)) if pairs else found
    return found


def _share_of_small_values(pairs: Sequence[tuple[np.ndarray, np.ndarray]], level: float) -> float:
    """Return which part of the noise small values may have too: 1 if it's as large for them as for large ones.

    Sums of large terms may cancel: a value near 0 has as much noise as the others then, although it may be none of
    those that were measured. Exponentials have little where they're small.
    """
    parts = []
    for pair in pairs:
        one, other = (array.reshape(-1)[:: 1 + array.size // _SAMPLED] for array in pair)
        distance, magnitude = differences(one, other)
        # Zeros that stay are what a ReLU cut off.
        kept = np.isfinite(distance) & (magnitude < level) & ((magnitude > 0) | (distance > 0))
        parts.append((distance[kept], magnitude[kept]))
    distance, magnitude = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not distance.any():
        return 1.0
    small = distance[magnitude <= np.median(magnitude)]
    # Half of a few values is a rough measure.
    return min(1.0, 2 * float(np.sqrt(np.mean(small**2) / np.mean(distance**2))))
