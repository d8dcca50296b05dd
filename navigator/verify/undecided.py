"""Elements of outputs that rounding decides: an order, a class or a threshold between values that are all but equal.

A right conversion computes other last digits, so it may decide such a tie otherwise. What it decides elsewhere counts.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from navigator.verify.outputs import Outputs, tolerance_of

Arrays = Mapping[str, np.ndarray]
Masks = list[tuple[str, dict[str, np.ndarray]]]

_MOST = 1 / 20
"""If more of an output's elements differ, or are undecided, it isn't a matter of ties."""


def differing(reference: Outputs, outputs: Outputs, atol: Mapping[str, float], rtol: Mapping[str, float]) -> list[str]:
    """Return the samples in which elements differ, if they're so few that ties may explain it; none otherwise."""
    known = dict(outputs)
    total: dict[str, int] = {}
    found: dict[str, int] = {}
    samples = []
    for sample, arrays in reference:
        some = False
        for name, left in arrays.items():
            right = known.get(sample, {}).get(name)
            total[name] = total.get(name, 0) + left.size
            if right is None or right.dtype != left.dtype:
                return []
            count = int(np.count_nonzero(_differs(left, right, tolerance_of(atol, name), tolerance_of(rtol, name))))
            found[name], some = found.get(name, 0) + count, some or count > 0
        samples += [sample] if some else []
    return samples if all(count <= _MOST * total[name] for name, count in found.items()) else []


def undecided(
    reference: Outputs, runs: Sequence[tuple[str, Arrays]], atol: Mapping[str, float], rtol: Mapping[str, float]
) -> Masks:
    """Return the elements that other rounding changes, as booleans of the outputs' shapes; none if they're many.

    Args:
        reference: the source model's outputs.
        runs: what it returns where it rounds otherwise, some samples several times, some outputs left out.
        atol: absolute tolerance by output name, "" for all others.
        rtol: relative tolerance, likewise.
    """
    known = dict(reference)
    masks: dict[str, dict[str, np.ndarray]] = {}
    for sample, arrays in runs:
        for name, array in arrays.items():
            left = known[sample].get(name)
            if left is not None and left.dtype == array.dtype:
                mask = _differs(left, array, tolerance_of(atol, name), tolerance_of(rtol, name))
                before = masks.setdefault(sample, {}).get(name)
                masks[sample][name] = mask if before is None else before | mask
    for name in {name for _, arrays in reference for name in arrays}:
        count = sum(int(np.count_nonzero(each[name])) for each in masks.values() if name in each)
        if count > _MOST * sum(arrays[name].size for _, arrays in reference if name in arrays):
            return []
    return [(sample, {name: mask for name, mask in each.items() if mask.any()}) for sample, each in masks.items()]


def warnings(reference: Outputs, masks: Masks) -> Iterator[str]:
    """Say how many elements of each output aren't compared."""
    for name in dict.fromkeys(name for _, each in masks for name in each):
        count = sum(int(np.count_nonzero(each[name])) for _, each in masks if name in each)
        total = sum(arrays[name].size for _, arrays in reference if name in arrays)
        yield (
            f"{name}: {count:,} of {total:,} values are decided by rounding alone, since what they sort or choose "
            "from is all but equal; they aren't compared, and all others match"
        )


def _differs(left: np.ndarray, right: np.ndarray, atol: float, rtol: float) -> np.ndarray:
    if left.shape != right.shape:
        return np.ones(left.shape, bool)
    if left.dtype.kind not in "fc":
        return np.asarray(left != right)
    with np.errstate(all="ignore"):
        return np.asarray(~np.isclose(right, left, rtol=rtol, atol=atol, equal_nan=True))
