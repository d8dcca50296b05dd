"""The arithmetic of a search for disagreements: how far outputs are off, and what the source model's rounding explains.

`navigator.verify.compare` makes the verdict; this decides which inputs are worth one.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from navigator.verify.differences import differences, pieces
from navigator.verify.noise import FACTOR
from navigator.verify.outputs import tolerance_of

Arrays = Mapping[str, np.ndarray]

INPUTS, SOURCE, CONVERTED, STEP, NUDGE = "inputs", "source", "converted", "step", "nudge"
EXACT, OFF = "exact", "off"
"""The names of the sets of arrays that describe a disagreement; there are several steps and nudges, and sums off."""

# An error of so many tolerances is as clear as a larger one.
_CLEAR = 100.0


def excess(reference: Arrays, outputs: Arrays, atol: Mapping[str, float], rtol: Mapping[str, float]) -> float:
    """Return the largest error in tolerances: more than 1 is a disagreement, and infinity one that has no number.

    0 for inputs that the source model answers with NaN, or with infinities that the converted model doesn't have.

    Args:
        reference: the source model's outputs for one set of inputs.
        outputs: the converted model's; none if it refused the inputs.
        atol: absolute tolerance by output name, "" for all others.
        rtol: relative tolerance, likewise.
    """
    largest = 0.0
    for name, left in reference.items():
        right = outputs.get(name)
        alike = right is not None and right.shape == left.shape and right.dtype == left.dtype
        found = _ratio(left, right if alike else None, tolerance_of(atol, name), tolerance_of(rtol, name))
        if math.isnan(found):
            return 0.0
        largest = max(largest, found)
    return largest


def doubtful(errors: Mapping[str, float], outputs: Mapping[str, Arrays]) -> list[str]:
    """Return the inputs whose errors are beyond tolerance, the clearest first, and of those the ones soonest run again.

    Args:
        errors: the largest error of each, in tolerances.
        outputs: the source model's for each.
    """
    sizes = {name: sum(array.size for array in arrays.values()) for name, arrays in outputs.items()}
    beyond = (name for name, error in errors.items() if error > 1)
    return sorted(beyond, key=lambda name: (-min(errors[name], _CLEAR), sizes[name]))


def _ratio(reference: np.ndarray, value: np.ndarray | None, atol: float, rtol: float) -> float:
    """Return the largest error in tolerances, NaN if the reference says nothing."""
    floats = reference.dtype.kind in "fc"
    if floats and np.isnan(reference).any():
        return math.nan
    if value is None:
        return math.inf
    if floats and (infinite := np.isinf(reference)).any():
        if not np.array_equal(reference[infinite], value[infinite]):
            return math.nan
        reference, value = reference[~infinite], value[~infinite]
    largest = 0.0
    with np.errstate(all="ignore"):
        for _, left, right in pieces(reference, value):
            distance, magnitude = differences(left, right)
            ratio = np.where(distance > 0, distance / (atol + rtol * magnitude), np.where(distance == 0, 0, np.inf))
            largest = max(largest, float(ratio.max(initial=0.0)))
    return largest


def explained(
    reference: Arrays, steps: Sequence[Arrays], nudges: Sequence[Arrays], rtol: Mapping[str, float]
) -> dict[str, float] | None:
    """Return the absolute tolerance that the source model's own rounding needs at these inputs, by output.

    None if it decides otherwise after a change that rounding could make: another whole number, another shape, or a
    value that isn't finite. Nothing can be said there.

    Args:
        reference: its outputs.
        steps: its outputs after changes that mean nothing mathematically, of which `FACTOR` times as much is allowed.
        nudges: its outputs for inputs that are several steps of their dtype away, of which as much is allowed.
        rtol: relative tolerance by output name, "" for all others.
    """
    found: dict[str, float] = {}
    for factor, changed in [*((FACTOR, each) for each in steps), *((1.0, each) for each in nudges)]:
        for name, left in reference.items():
            right = changed.get(name)
            if right is None:
                continue
            needed = _needed(left, right, factor, tolerance_of(rtol, name))
            if not math.isfinite(needed):
                return None
            found[name] = max(found.get(name, 0.0), needed)
    return found


def widened(atol: Mapping[str, float], by: Mapping[str, float]) -> dict[str, float]:
    """Return tolerances with more for some outputs."""
    return {**atol, **{name: tolerance_of(atol, name) + more for name, more in by.items()}}


def without_rounding(
    reference: Arrays,
    outputs: Arrays,
    steps: Sequence[Arrays],
    nudges: Sequence[Arrays],
    *,
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
    rows: int | None,
    strict: bool = False,
) -> Arrays:
    """Return a converted model's outputs with the source model's where rounding explains an error, or decides.

    Each row is judged by its own rounding: that of large numbers hides nothing in the others. Outputs that aren't in
    rows may depend on all of them.

    Args:
        reference: the source model's outputs.
        outputs: the converted model's; none if it refused the inputs.
        steps: as in `explained`.
        nudges: likewise.
        atol: absolute tolerance by output name, "" for all others.
        rtol: relative tolerance, likewise.
        rows: how many rows the batch has, None without one.
        strict: whether an error counts where rounding decides, too.
    """

    def is_rounding(names: Sequence[str], row: int | None = None) -> bool | None:
        """Return None where the source model decides otherwise, so that nothing can be said."""
        left, right, *more = (_chosen(each, names, row) for each in (reference, outputs, *steps, *nudges))
        allowed = explained(left, more[: len(steps)], more[len(steps) :], rtol)
        if allowed is None and (strict or loses_numbers(right, [left, *more])):
            return False
        return None if allowed is None else excess(left, right, widened(atol, allowed), rtol) <= 1

    aligned = outputs.keys() == reference.keys() and all(map(_aligned(reference), (outputs, *steps, *nudges)))
    in_rows = [name for name, left in reference.items() if aligned and rows and left.shape[:1] == (rows,)]
    others = [name for name in reference if name not in in_rows]
    of_others = is_rounding(others)
    if of_others is None:
        return reference
    of_rows = [is_rounding(in_rows, row) for row in range(rows or 0)] if in_rows else []
    settled = np.array([each is not False for each in of_rows])
    found = dict(reference if of_others or None in of_rows else outputs)
    for name in in_rows:
        found[name] = outputs[name].copy()
        found[name][settled] = reference[name][settled]
    return found


def with_exact_sums(
    outputs: Arrays,
    exact: Arrays,
    off: Sequence[Arrays],
    *,
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
    rows: int | None,
) -> Arrays:
    """Return a converted model's outputs as they are with exact sums, where only what a runtime rounds is in between.

    A sum of many equal numbers may be off by far more digits in one runtime than in another, and both are right. What
    the file says shows with exact sums, and a kernel that's wrong is off by more.

    Args:
        outputs: the converted model's; none if it refused the inputs.
        exact: its outputs with exact sums.
        off: its outputs with sums that are off, of which `FACTOR` times as much is allowed.
        atol: absolute tolerance by output name, "" for all others.
        rtol: relative tolerance, likewise.
        rows: how many rows the batch has, None without one.
    """
    if not all(map(_aligned(exact), (outputs, *off))):
        return outputs
    return without_rounding(exact, outputs, off, (), atol=atol, rtol=rtol, rows=rows, strict=True)


def loses_numbers(outputs: Arrays, known: Sequence[Arrays]) -> bool:
    """Return whether a converted model returns NaN where the source model returns numbers, whatever it decides."""
    return any(
        array.dtype.kind in "fc"
        and all(name in each and each[name].shape == array.shape for each in known)
        and bool((np.isnan(array) & np.logical_and.reduce([np.isfinite(each[name]) for each in known])).any())
        for name, array in outputs.items()
    )


def _aligned(reference: Arrays) -> Callable[[Arrays], bool]:
    """Return what tells whether outputs have the shapes and dtypes of the source model's."""
    kinds = {name: (array.shape, array.dtype) for name, array in reference.items()}
    return lambda arrays: all(kinds.get(name) == (array.shape, array.dtype) for name, array in arrays.items())


def _chosen(arrays: Arrays, names: Sequence[str], row: int | None) -> dict[str, np.ndarray]:
    """Return some of the arrays, or one row of each."""
    known = {name: arrays[name] for name in names if name in arrays}
    return known if row is None else {name: array[row : row + 1] for name, array in known.items()}


def _needed(one: np.ndarray, other: np.ndarray, factor: float, rtol: float) -> float:
    if one.shape != other.shape:
        return math.inf
    if one.dtype.kind not in "fc":
        return 0.0 if np.array_equal(one, other) else math.inf
    needed = 0.0
    with np.errstate(all="ignore"):
        for _, left, right in pieces(one, other):
            same = left == right
            distance, magnitude = differences(left[~same], right[~same])
            needed = float(np.maximum(needed, (factor * distance - rtol * magnitude).max(initial=0.0)))
    return math.inf if math.isnan(needed) else needed
