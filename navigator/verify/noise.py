"""The source model's own rounding as a tolerance.

A float32 computation isn't exact: the same model gives other last digits in another batch, on other threads, or if a
weight changes by one step. A converted model that differs by no more than that can't be told from the source model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.records import DEFAULT_TOLERANCE
from navigator.verify.differences import differences, pieces
from navigator.verify.outputs import Outputs, tolerance_of
from navigator.verify.slices import spread

FACTOR = 5.0
"""How many times the measured noise is allowed. Right conversions were off by up to 3.1 times as much."""

# A tolerance of more than this part of an output's range isn't made: 1 %, which is what fp16 is allowed. For outputs
# in float16, 5 %, beyond which no tolerance is suggested either.
_LIMITS = {2: 0.05, 4: 0.01, 8: 0.01}


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """The noise of one output: its largest difference, and the absolute tolerance made of it.

    `rejected` if the noise is too large to be rounding; the tolerance is then the strict one.
    """

    largest: float
    atol: float
    rejected: bool = False


def measured(reference: Outputs, probes: Outputs, rtol: Mapping[str, float]) -> dict[str, Noise]:
    """Return the noise of each output of floats.

    The tolerance is the smallest with which differences `FACTOR` times as large as the measured ones match, so that
    what `rtol` allows anyway doesn't widen it, and at least 1e-5.

    Args:
        reference: (sample name, {output name: array}) of the source model.
        probes: (sample name, outputs) of the source model after changes that mean nothing mathematically.
        rtol: relative tolerance by output name, "" for all others.
    """
    known = dict(reference)
    found: dict[str, Noise] = {}
    for name in dict.fromkeys(name for _, arrays in reference for name in arrays):
        pairs = [
            (known[sample][name], arrays[name])
            for sample, arrays in probes
            if name in arrays and sample in known and _comparable(known[sample].get(name), arrays[name])
        ]
        if pairs:
            found[name] = _noise(pairs, [arrays[name] for _, arrays in reference if name in arrays], rtol, name)
    return found


def notes(noise: Mapping[str, Noise]) -> Iterator[str]:
    """Yield what to tell of noise that's too large to be rounding."""
    for name, each in noise.items():
        if each.rejected:
            yield (
                f"{name}: rounding alone changes it by up to {each.largest:.2g} in the source model, which is too much "
                "of its range to make a tolerance of, so that it's compared strictly; set atol if that's expected"
            )


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
) -> Noise:
    largest = needed = 0.0
    allowed = tolerance_of(rtol, name)
    with np.errstate(all="ignore"):
        for one, other in pairs:
            for _, left, right in pieces(one, other):
                finite = np.isfinite(left) & np.isfinite(right)
                distance, magnitude = differences(left[finite], right[finite])
                largest = max(largest, float(distance.max(initial=0.0)))
                needed = max(needed, float((FACTOR * distance - allowed * magnitude).max(initial=0.0)))
    if needed <= DEFAULT_TOLERANCE:
        return Noise(largest=largest, atol=DEFAULT_TOLERANCE)
    limit = _LIMITS.get(pairs[0][0].real.dtype.itemsize, 0.0) * spread(reference)
    if not needed <= limit:
        return Noise(largest=largest, atol=DEFAULT_TOLERANCE, rejected=True)
    return Noise(largest=largest, atol=float(f"{needed:.1e}"))
