"""Whether an artifact computes what the source model computes: the reference's outputs against the artifact's.

Owns the verdict, the tolerances suggested after a mismatch and the warnings where a pass would prove little. Pure:
it runs nothing and reads nothing but the arrays it is given, which may be mapped files. What cannot be compared has
failed; there is no third outcome.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from navigator.errors import ConfigurationError
from navigator.records import Comparison, Tolerances, Verdict, WorstElement
from navigator.verify.differences import Tally, bounded, needed_atol, tally, variation

Outputs = Sequence[tuple[str, Mapping[str, np.ndarray]]]
Plain = float | int | bool | str

_DEFAULT_TOLERANCE = 1e-5

# Relative tolerances that a suggestion may use. Wider than a hundredth is no rounding of any precision in use.
_SUGGESTED_RTOL = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)

# An error of this part of the range of all values is not explained by rounding.
_EXPLICABLE = 0.05

# Outputs that vary by less than this part of their magnitude are as good as constant.
_CONSTANT = 1e-6

_REMEDY = "give samples or value_ranges that make it differ"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Output:
    """One output: its pairs of arrays that can be compared, what was found in them, and its tolerances."""

    name: str
    atol: float
    rtol: float
    pairs: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    found: Tally
    problem: str

    @property
    def magnitude(self) -> float:
        return max(abs(self.found.low), abs(self.found.high))

    @property
    def spread(self) -> float:
        return self.found.high - self.found.low


def verify(
    reference: Outputs,
    outputs: Outputs,
    *,
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
    explicable: float = _EXPLICABLE,
) -> Verdict:
    """Compare an artifact's outputs with the source model's, sample by sample, output by output.

    An element matches if |value - reference| <= atol + rtol * |reference|, computed in float64 (64-bit integers:
    exactly). An output fails if it is missing, extra, misshapen, wrongly typed, empty or not finite, on either side,
    in any sample.

    Args:
        reference: (sample name, {output name: array}) of the source model.
        outputs: the artifact's, for the same samples in the same order.
        atol: absolute tolerance by output name, "" for all others; 1e-5 where neither says.
        rtol: relative tolerance, likewise.
        explicable: an error of more than this part of the range of all values gets no tolerances suggested.

    Raises:
        ConfigurationError: a tolerance is negative or not finite, so that nothing could fail, or nothing pass.
    """
    _check_tolerances(atol, rtol)
    names = _names(reference)
    extra = [name for name in _names(outputs) if name not in names]
    unlike = _unlike_samples(reference, outputs)
    found = [
        _compare(name, reference, outputs, _entry(atol, name), _entry(rtol, name), unlike) for name in [*names, *extra]
    ]
    warnings = list(_unknown_names(names, atol, rtol))
    suggested, unexplained = _suggest(found, atol, rtol, explicable)
    warnings += unexplained
    for output in found:
        if not output.problem:
            warnings += _little_proof(output)
    if not names:
        warnings.append("the source model gave no outputs: nothing was compared")
    return Verdict(
        comparisons=tuple(_comparison(output, len(reference)) for output in found),
        suggested=suggested,
        warnings=tuple(warnings),
    )


# What can be compared


def _check_tolerances(atol: Mapping[str, float], rtol: Mapping[str, float]) -> None:
    for key, entries in (("atol", atol), ("rtol", rtol)):
        for name, value in entries.items():
            if not (math.isfinite(value) and value >= 0):
                where = repr(name) if name else "all outputs"
                raise ConfigurationError(f"{key} of {where} is {value}", "write a finite number of at least 0")


def _entry(entries: Mapping[str, float], name: str) -> float:
    return entries.get(name, entries.get("", _DEFAULT_TOLERANCE))


def _names(outputs: Outputs) -> list[str]:
    return list(dict.fromkeys(name for _, arrays in outputs for name in arrays))


def _unlike_samples(reference: Outputs, outputs: Outputs) -> str:
    expected, actual = [name for name, _ in reference], [name for name, _ in outputs]
    if expected == actual:
        return ""
    return (
        f"missing: the artifact has outputs for the samples {', '.join(actual) or 'none'}, "
        f"the source model for {', '.join(expected) or 'none'}"
    )


def _compare(name: str, reference: Outputs, outputs: Outputs, atol: float, rtol: float, unlike_samples: str) -> _Output:
    """Go through all samples of one output; the first problem is told, and how many samples have one."""
    found = Tally()
    pairs: list[tuple[str, np.ndarray, np.ndarray]] = []
    problems = [unlike_samples] if unlike_samples else []
    for (sample, left), (_, right) in zip(reference, outputs, strict=True) if not unlike_samples else ():
        problem = _incomparable(name, sample, left, right)
        if not problem:
            found.reference_non_finite = found.value_non_finite = 0
            pairs.append((sample, np.asarray(left[name]), np.asarray(right[name])))
            tally(found, len(pairs) - 1, *pairs[-1][1:], atol, rtol)
            problem = _non_finite(found, *pairs[-1])
        if problem:
            problems.append(problem)
    more = f" (and in {len(problems) - 1} more of {len(reference)} samples)" if len(problems) > 1 else ""
    problem = problems[0] + more if problems else ""
    return _Output(name=name, atol=atol, rtol=rtol, pairs=tuple(pairs), found=found, problem=problem)


def _incomparable(
    name: str, sample: str, reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> str:
    """Return why the two arrays cannot be compared element by element, or ""."""
    if name not in reference:
        return f"extra: the source model has no output {name!r} in sample {sample!r}; it has: {', '.join(reference)}"
    if name not in outputs:
        return f"missing: the artifact gives no {name!r} in sample {sample!r}; it gives: {', '.join(outputs) or 'none'}"
    left, right = np.asarray(reference[name]), np.asarray(outputs[name])
    if left.dtype.newbyteorder("=") != right.dtype.newbyteorder("="):
        return f"wrongly typed: {right.dtype}, the source model gives {left.dtype}"
    if left.dtype.kind not in "biufc":
        return f"wrongly typed: both give {left.dtype}, and only numbers can be verified"
    if left.shape != right.shape:
        return f"misshapen: {list(right.shape)} in sample {sample!r}, where the source model gives {list(left.shape)}"
    if not left.size:
        return (
            f"empty: both are {list(left.shape)} in sample {sample!r}, which proves nothing; give samples, or "
            "value_ranges, for which the model puts out something"
        )
    return ""


def _non_finite(found: Tally, sample: str, reference: np.ndarray, value: np.ndarray) -> str:
    first = f", first at {list(found.first_non_finite[1])}" if found.first_non_finite else ""
    if found.reference_non_finite:
        return (
            f"non-finite: the source model itself gives {found.reference_non_finite} NaN or infinite of "
            f"{reference.size} values in sample {sample!r}{first}; narrow value_ranges or give samples that it is made "
            "for, or take the output out of the model if it is meant to be so"
        )
    if found.value_non_finite:
        return (
            f"non-finite: {found.value_non_finite} of {value.size} values are NaN or infinite in sample {sample!r}"
            f"{first}, where the source model's are finite"
        )
    return ""


def _comparison(output: _Output, samples: int) -> Comparison:
    found = output.found
    at = found.first_non_finite or (found.worst if found.max_abs_error else None)
    worst = None
    if at is not None:
        sample, left, right = output.pairs[at[0]]
        worst = WorstElement(
            sample=sample, index=at[1], reference=_plain(left[at[1]].item()), value=_plain(right[at[1]].item())
        )
    compared = found.compared > 0
    relative = found.max_rel_error
    return Comparison(
        output=output.name,
        passed=not output.problem and found.mismatched == 0 and compared,
        atol=output.atol,
        rtol=output.rtol,
        samples=samples,
        total=found.total,
        mismatched=found.mismatched,
        max_abs_error=bounded(found.max_abs_error) if compared else None,
        max_rel_error=bounded(relative) if relative is not None else None,
        mean_abs_error=bounded(found.error_sum / found.compared) if compared else None,
        worst=worst,
        reference_min=found.low if compared else None,
        reference_max=found.high if compared else None,
        problem=output.problem,
    )


def _plain(value: object) -> Plain:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


# What would pass


def _suggest(
    outputs: Sequence[_Output], atol: Mapping[str, float], rtol: Mapping[str, float], explicable: float
) -> tuple[Tolerances | None, list[str]]:
    """Return tolerances with which all outputs pass, or None, and a sentence for each output that has none."""
    failed = [output for output in outputs if output.problem or output.found.mismatched]
    tightest = {output.name: _tightest(output, explicable) for output in failed if not output.problem}
    warnings = [
        f"{output.name!r}: errors reach {output.found.max_abs_error:.3g}, large against the outputs' own spread "
        f"{_range(output)}: no tolerance makes this meaningful, the artifact computes something else"
        for output in failed
        if not output.problem and tightest[output.name] is None
    ]
    explained = {name: pair for name, pair in tightest.items() if pair is not None}
    if not failed or len(explained) < len(failed):
        return None, warnings
    names = {output.name for output in outputs}
    # The entry for all others, unless there are none.
    rest = [{} if "" not in each and names <= set(each) else {"": _entry(each, "")} for each in (atol, rtol)]
    kept = [
        others | {name: each for name, each in entries.items() if name in names}
        for others, entries in zip(rest, (atol, rtol), strict=True)
    ]
    return Tolerances(
        atol=kept[0] | {name: pair[0] for name, pair in explained.items()},
        rtol=kept[1] | {name: pair[1] for name, pair in explained.items()},
    ), warnings


def _tightest(output: _Output, explicable: float) -> tuple[float, float] | None:
    """Return the (atol, rtol) that lets the least through on average and with which every element matches."""
    found = output.found
    scale = output.spread or output.magnitude
    if not found.max_abs_error <= explicable * scale:
        return None
    rtols = sorted({*_SUGGESTED_RTOL, min(output.rtol, max(_SUGGESTED_RTOL))})
    needed = [needed_atol(left, right, rtols) for _, left, right in output.pairs]
    choices = [(_round_up(max(atols)), rtol) for rtol, *atols in zip(rtols, *needed, strict=True)]
    usual = bounded(found.magnitude_sum / found.compared)
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


# Where a pass proves little


def _unknown_names(names: Sequence[str], atol: Mapping[str, float], rtol: Mapping[str, float]) -> Iterator[str]:
    for key, entries in (("atol", atol), ("rtol", rtol)):
        unknown = [repr(name) for name in entries if name and name not in names]
        if unknown and names:
            yield f"{key} names {', '.join(unknown)}, which is no output; outputs: {', '.join(names)}"


def _little_proof(output: _Output) -> Iterator[str]:
    tolerance = output.atol + output.rtol * output.magnitude
    if output.found.total > 1 and output.spread == 0:
        yield f"{output.name!r} is {output.found.low:g} everywhere: that it matches proves little; {_REMEDY}"
        return
    wide = output.found.total > 1 and tolerance >= output.spread
    if wide:
        yield (
            f"{output.name!r}: the tolerance (atol {output.atol:g}, rtol {output.rtol:g}) is wider than its whole "
            f"range {_range(output)}: every model of that range passes"
        )
    constant = _CONSTANT * output.magnitude
    enough = constant if wide else max(constant, tolerance)
    varies = variation([left for _, left, _ in output.pairs], enough)
    if varies is not None and varies <= enough:
        against = f"at values up to {output.magnitude:.3g}" if varies <= constant else "less than its tolerance"
        yield f"{output.name!r} hardly depends on the inputs: it varies by {varies:.2g}, {against}; {_REMEDY}"


def _range(output: _Output) -> str:
    return f"[{output.found.low:.6g}, {output.found.high:.6g}]"
