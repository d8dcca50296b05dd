"""Suggests the tightest tolerances with which a mismatch would have passed."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from navigator.records import Tolerances
from navigator.verify.agreement import agreement
from navigator.verify.differences import bounded, needed_atol
from navigator.verify.outputs import ComparedOutput, range_of, tolerance_of

# Relative tolerances to suggest. Rounding to any supported precision is below one hundredth.
_SUGGESTED_RTOL = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)

# If this part of an output's values differs, and of their variance, nearly nothing agrees; nor if their directions do.
_NEARLY_ALL = 0.9
_SAME_DIRECTION = 0.5


def suggest(
    outputs: Sequence[ComparedOutput], atol: Mapping[str, float], rtol: Mapping[str, float], rounding_limit: float
) -> tuple[Tolerances | None, list[str]]:
    """Return tolerances with which all outputs pass, or None and a warning for each output that has none."""
    failed = [output for output in outputs if output.problem or (output.totals.mismatched and not output.passed)]
    tightest = [(output, _tightest(output, rounding_limit)) for output in failed if not output.problem]
    warnings = [_unexplained(output) for output, pair in tightest if pair is None]
    # One tolerance for slices of different units would let the narrow ones pass whatever they are.
    warnings += [
        f"{output.title}: no tolerance is suggested, since one for all of {output.name!r} would be too wide for its "
        "narrowest slices"
        for output, pair in tightest
        if pair is not None and output.unit is not None
    ]
    explained = {output.name: pair for output, pair in tightest if pair is not None and output.unit is None}
    if not failed or len(explained) < len(failed):
        return None, warnings
    names = {output.name for output in outputs if output.unit is None}
    # The entry for all others, unless there are none.
    rest = [{} if "" not in each and names <= set(each) else {"": tolerance_of(each, "")} for each in (atol, rtol)]
    kept = [
        others | {name: each for name, each in entries.items() if name in names}
        for others, entries in zip(rest, (atol, rtol), strict=True)
    ]
    return Tolerances(
        atol=kept[0] | {name: pair[0] for name, pair in explained.items()},
        rtol=kept[1] | {name: pair[1] for name, pair in explained.items()},
    ), warnings


def _unexplained(output: ComparedOutput) -> str:
    if _counts_exactly(output):
        return (
            f"{output.title}: no tolerance is suggested for whole numbers, since one that is off by 1 may be another "
            "ID, index or count"
        )
    nothing = ", since the converted model computes something else" if _nothing_agrees(output) else ""
    return (
        f"{output.title}: errors of up to {output.totals.max_abs_error:.3g} are too large for its range "
        f"{range_of(output)}; no tolerance would be meaningful{nothing}"
    )


def _nothing_agrees(output: ComparedOutput) -> bool:
    """Return whether all but few values differ, and aren't off by little, by a factor or by what is small for them."""
    if output.totals.mismatched < _NEARLY_ALL * output.totals.total:
        return False
    found = agreement(output.arrays)
    explained = found.explained if found is not None else None
    cosine = found.cosine if found is not None else None
    return (explained is None or explained < 1 - _NEARLY_ALL) and (cosine is None or cosine < _SAME_DIRECTION)


def _counts_exactly(output: ComparedOutput) -> bool:
    """Return whether the values are whole numbers of more than 8 bits: those of 8 may be pixels."""
    dtype = output.pairs[0][1].dtype
    return dtype.kind in "iu" and dtype.itemsize > 1


def _tightest(output: ComparedOutput, rounding_limit: float) -> tuple[float, float] | None:
    """Return the (atol, rtol) that is tightest on average and with which every element matches."""
    totals = output.totals
    scale = output.spread or output.magnitude
    if _counts_exactly(output) or not totals.max_abs_error <= rounding_limit * scale:
        return None
    rtols = sorted({*_SUGGESTED_RTOL, min(output.rtol, max(_SUGGESTED_RTOL))})
    needed = [needed_atol(left, right, rtols) for _, left, right in output.pairs]
    choices = [(_round_up(max(atols)), rtol) for rtol, *atols in zip(rtols, *needed, strict=True)]
    usual = bounded(totals.magnitude_sum / totals.compared)
    return min(
        (choice for choice in choices if math.isfinite(choice[0])),
        key=lambda choice: choice[0] + choice[1] * usual,
        default=None,
    )


def _round_up(value: float) -> float:
    """Return the next number of two significant digits that is not below `value`."""
    rounded = Decimal(f"{value:.1e}")
    if float(rounded) < value:
        rounded += Decimal((0, (1,), int(rounded.as_tuple().exponent)))
    return float(rounded)
