"""Where a source model answers differently on a GPU than on the CPU, by more than rounding. Pure.

A row of attention whose mask leaves nothing is such a case: what comes out depends on how the device handles the
lowest numbers, and no conversion can be held to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from navigator.errors import listed
from navigator.verify.differences import differences
from navigator.verify.outputs import Outputs, tolerance_of

# How many times the tolerance an error is that no other order of sums makes.
_FAR = 10.0


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The output of a sample that differs most between devices, and by how much."""

    sample: str
    output: str
    largest: float


def disagreements(
    reference: Outputs, on_gpu: Outputs, atol: Mapping[str, float], rtol: Mapping[str, float]
) -> tuple[Disagreement, ...]:
    """Return the samples for which a source model disagrees with itself by far; none if it's all of them.

    Args:
        reference: (sample name, {output name: array}) of the source model on the CPU.
        on_gpu: the same on a GPU.
        atol: absolute tolerance of float32 by output name, "" for all others.
        rtol: relative tolerance, likewise.
    """
    own = dict(on_gpu)
    found = [each for name, arrays in reference if (each := _disagreement(name, arrays, own.get(name, {}), atol, rtol))]
    return tuple(found) if len(found) < len(reference) else ()


def _disagreement(
    sample: str,
    reference: Mapping[str, np.ndarray],
    own: Mapping[str, np.ndarray],
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
) -> Disagreement | None:
    worst: tuple[float, Disagreement] | None = None
    for name, left in reference.items():
        right = own.get(name)
        comparable = right is not None and (right.shape, right.dtype) == (left.shape, left.dtype)
        if not comparable or left.dtype.kind not in "fc" or right is None:
            continue
        with np.errstate(all="ignore"):
            finite = np.isfinite(left) & np.isfinite(right)
            distance, magnitude = differences(left[finite], right[finite])
            allowed = tolerance_of(atol, name) + tolerance_of(rtol, name) * magnitude
            share = float(np.divide(distance, allowed, where=allowed > 0, out=np.zeros_like(distance)).max(initial=0.0))
        if share > _FAR and (worst is None or share > worst[0]):
            worst = share, Disagreement(sample, name, float(distance.max(initial=0.0)))
    return worst[1] if worst is not None else None


def notes(found: tuple[Disagreement, ...]) -> Iterator[str]:
    """Yield what to tell of the samples that are left out on the GPU."""
    if found:
        told = listed(f"{each.sample} ({each.output} by up to {each.largest:.2g})" for each in found)
        yield (
            "not compared on the GPU, where the source model itself returns other values than on the CPU: samples "
            f"{told}"
        )
