"""Whether an artifact computes what the source model computes: the reference's outputs against the artifact's.

Owns the verdict, the tolerances suggested after a mismatch and the warnings where a pass would prove little. Pure:
it runs nothing and reads nothing but the arrays it is given, which may be mapped files. What cannot be compared has
failed; there is no third outcome.
"""

import math
from collections.abc import Mapping

import numpy as np

from navigator.errors import ConfigurationError
from navigator.records import Comparison, Verdict, WorstElement
from navigator.verify.differences import Tally, bounded, tally
from navigator.verify.outputs import ComparedOutput, Outputs, tolerance_of
from navigator.verify.suggestions import suggest
from navigator.verify.weaknesses import unknown_names, weak_proof

Plain = float | int | bool | str


# An error of this part of the range of all values is not explained by rounding.
_ROUNDING_LIMIT = 0.05


def verify(
    reference: Outputs,
    outputs: Outputs,
    *,
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
    rounding_limit: float = _ROUNDING_LIMIT,
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
        rounding_limit: an error of more than this part of the range of all values gets no tolerances suggested.

    Raises:
        ConfigurationError: a tolerance is negative or not finite, so that nothing could fail, or nothing pass.
    """
    _check_tolerances(atol, rtol)
    names = _names(reference)
    extra = [name for name in _names(outputs) if name not in names]
    unlike = _unlike_samples(reference, outputs)
    found = [
        _compare(name, reference, outputs, tolerance_of(atol, name), tolerance_of(rtol, name), unlike)
        for name in [*names, *extra]
    ]
    warnings = list(unknown_names(names, atol, rtol))
    suggested, unexplained = suggest(found, atol, rtol, rounding_limit)
    warnings += unexplained
    for output in found:
        if not output.problem:
            warnings += weak_proof(output)
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


def _compare(
    name: str, reference: Outputs, outputs: Outputs, atol: float, rtol: float, unlike_samples: str
) -> ComparedOutput:
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
    return ComparedOutput(name=name, atol=atol, rtol=rtol, pairs=tuple(pairs), found=found, problem=problem)


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


def _comparison(output: ComparedOutput, samples: int) -> Comparison:
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
