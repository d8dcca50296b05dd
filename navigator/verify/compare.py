"""Compares the outputs of a converted model with those of its source model.

Pure: runs nothing and reads only the arrays that it is given, which may be mapped files. Outputs that can't be
compared have failed; there is no third result.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from navigator.errors import listed
from navigator.records import DEFAULT_TOLERANCE, Agreement, Comparison, Gate, Verdict, WorstElement
from navigator.verify.agreement import agreement
from navigator.verify.decisions import Scores, decisions
from navigator.verify.differences import Tally, bounded, needed_atol, tally
from navigator.verify.exceptions import Rounded, few_scores, only_rounding
from navigator.verify.gates import applied
from navigator.verify.noise import Noise
from navigator.verify.outputs import ComparedOutput, Outputs, check_tolerances, tolerance_of
from navigator.verify.slices import Unit
from navigator.verify.suggestions import suggest
from navigator.verify.systematic import systematic
from navigator.verify.weaknesses import unknown_names, unusable_scores, weak_proof

Plain = float | int | bool | str

_EMPTY = (
    "both are empty in sample {0!r} (shape {1}), which proves nothing; set samples or value_ranges "
    "for which the model returns values"
)

# Rounding can't explain an error of more than this fraction of an output's range.
_ROUNDING_LIMIT = 0.05


def verify(
    reference: Outputs,
    outputs: Outputs,
    *,
    atol: Mapping[str, float],
    rtol: Mapping[str, float],
    units: Mapping[str, Sequence[Unit]] | None = None,
    measured: bool = False,
    least_sqnr_db: Mapping[str, float] | None = None,
    rounded: Rounded | None = None,
    overruled: Collection[str] = (),
    scores: Scores | None = None,
    gates: Mapping[str, float] | None = None,
    noise: Mapping[str, Noise] | None = None,
    rounding_limit: float = _ROUNDING_LIMIT,
    empty: Collection[str] = (),
) -> Verdict:
    """Compare the outputs of a converted model with its source model's, sample by sample, output by output.

    An element matches if |value - reference| <= atol + rtol * |reference|, computed in float64 (64-bit integers:
    exactly). Equal infinities match; NaN never does. An output fails if, on either side and in any sample, it is
    missing or unexpected, has another shape or dtype, or is NaN or not the same infinity anywhere. It fails if it's
    empty in every sample.

    Args:
        reference: (sample name, {output name: array}) of the source model.
        outputs: the same of the converted model, for the same samples in the same order.
        atol: absolute tolerance by output name, "" for all others. Defaults to 1e-5.
        rtol: relative tolerance, likewise.
        units: by output name, its slices that are compared apart, each with its own absolute tolerance.
        measured: also measure how well each output agrees as a whole, for reduced precisions.
        least_sqnr_db: by output name, the ratio of signal to noise from which exceptions are accepted. See
            `navigator.verify.exceptions`.
        rounded: what the converted model returns if it rounds otherwise: exceptions must be like it. None if that isn't
            known.
        overruled: the outputs that the user's metric accepts although values don't match.
        scores: which outputs are scores, for those that are measured.
        gates: the user's limits for those that are measured, by the name of the measure.
        noise: by output name, the source model's own rounding that `atol` was made of: errors beyond 1e-5 must be like
            it as a whole, too.
        rounding_limit: errors of more than this fraction of an output's range get no suggested tolerances.
        empty: the outputs that never have an element: their shapes and dtypes are all that there is.

    Raises:
        ConfigurationError: a tolerance is negative or not finite, so that nothing can fail or nothing can pass.
    """
    check_tolerances(atol, rtol)
    names = _names(reference)
    extra = [name for name in _names(outputs) if name not in names]
    unlike = _unlike_samples(reference, outputs)
    limits = least_sqnr_db or {}
    compared = [
        _accepting(part, limits.get(name), rounded, (noise or {}).get(name), overruled=name in overruled)
        for name in [*names, *extra]
        for part in _parts(
            _compare(
                name,
                reference,
                outputs,
                tolerance_of(atol, name),
                tolerance_of(rtol, name),
                unlike,
                empty=name in empty,
            ),
            (units or {}).get(name, ()),
        )
    ]
    warnings = list(unknown_names(names, atol, rtol))
    suggested, unexplained = suggest(compared, atol, rtol, rounding_limit)
    warnings += unexplained
    for output in compared:
        if not (output.problem or output.overruled):
            warnings += weak_proof(output)
    if not names:
        warnings.append("the source model returned no outputs, so nothing was compared")
    scores = scores or Scores()
    warnings += unusable_scores(reference, scores) if measured else []
    agreements = [_agreement(output, scores) if measured and not output.problem else None for output in compared]
    comparisons = tuple(
        _comparison(output, len(reference), found, applied(gates or {}, found))
        for output, found in zip(compared, agreements, strict=True)
    )
    # No tolerance passes a gate.
    within = all(gate.kept for each in comparisons for gate in each.gates)
    return Verdict(comparisons=comparisons, suggested=suggested if within else None, warnings=tuple(warnings))


def _agreement(output: ComparedOutput, scores: Scores) -> Agreement | None:
    axis = scores.axis(output.name, output.arrays)
    apart = output.unit is not None and output.unit.axis == axis  # some classes only
    decided = None if axis is None or apart else decisions(output.arrays, axis, scores.top_k)
    return agreement(output.arrays, decided)


def _accepting(
    output: ComparedOutput,
    least_sqnr_db: float | None,
    rounded: Rounded | None,
    noise: Noise | None,
    *,
    overruled: bool,
) -> ComparedOutput:
    """Return an output with why values that don't match are accepted, or ones that do are not."""
    if overruled:
        return replace(output, overruled=output.totals.mismatched > 0)
    few = rounding = False
    if least_sqnr_db is not None:
        few = rounded is None and few_scores(output, least_sqnr_db)
        rounding = rounded is not None and only_rounding(output, rounded, least_sqnr_db)
    problem = output.problem or _unlike_rounding(output, noise)
    return replace(output, few_scores=few, only_rounding=rounding, problem=problem)


# What can be compared


def _names(outputs: Outputs) -> list[str]:
    return list(dict.fromkeys(name for _, arrays in outputs for name in arrays))


def _unlike_samples(reference: Outputs, outputs: Outputs) -> str:
    expected, actual = [name for name, _ in reference], [name for name, _ in outputs]
    if expected == actual:
        return ""
    return f"expected outputs for the samples {listed(expected)}, got {listed(actual)}"


def _compare(
    name: str, reference: Outputs, outputs: Outputs, atol: float, rtol: float, unlike: str, *, empty: bool
) -> ComparedOutput:
    """Go through all samples of one output; report the first problem, and how many samples have one."""
    totals = Tally()
    pairs: list[tuple[str, np.ndarray, np.ndarray]] = []
    problems = [unlike] if unlike else []
    somewhere = empty or any(np.asarray(arrays[name]).size for _, arrays in reference if name in arrays)
    for (sample, left), (_, right) in zip(reference, outputs, strict=True) if not unlike else ():
        problem = _incomparable(name, sample, left, right)
        if not problem and not somewhere:
            problem = _EMPTY.format(sample, list(np.asarray(left[name]).shape))
        if not problem:
            totals.reference_nan = totals.reference_infinite = totals.value_non_finite = 0
            pairs.append((sample, np.asarray(left[name]), np.asarray(right[name])))
            tally(totals, len(pairs) - 1, *pairs[-1][1:], atol, rtol)
            problem = _non_finite(totals, *pairs[-1])
        if problem:
            problems.append(problem)
    more = f" (and in {len(problems) - 1} more of {len(reference)} samples)" if len(problems) > 1 else ""
    problem = problems[0] + more if problems else ""
    return ComparedOutput(
        name=name, atol=atol, rtol=rtol, pairs=tuple(pairs), totals=totals, problem=problem, empty=empty
    )


def _parts(output: ComparedOutput, units: Sequence[Unit]) -> Iterator[ComparedOutput]:
    """Yield an output that can be compared unit by unit, or as it is if it has one unit or a problem."""
    if output.problem or not units:
        yield output
        return
    for unit in units:
        totals = Tally()
        pairs = tuple(
            (sample, np.take(left, unit.indexes, unit.axis), np.take(right, unit.indexes, unit.axis))
            for sample, left, right in output.pairs
        )
        for number, (_, left, right) in enumerate(pairs):
            tally(totals, number, left, right, unit.atol, output.rtol)
        yield replace(output, atol=unit.atol, pairs=pairs, totals=totals, unit=unit)


def _incomparable(
    name: str, sample: str, reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> str:
    """Return why the two arrays can't be compared element by element, or ""."""
    if name not in reference:
        return f"unexpected in sample {sample!r}; the source model's outputs are {listed(reference)}"
    if not outputs:
        return f"missing in sample {sample!r}, which the converted model can't run; the log says why"
    if name not in outputs:
        return f"missing in sample {sample!r}; the converted model's outputs are {listed(outputs)}"
    left, right = np.asarray(reference[name]), np.asarray(outputs[name])
    if left.dtype.newbyteorder("=") != right.dtype.newbyteorder("="):
        return f"expected dtype {left.dtype}, got {right.dtype}"
    if left.dtype.kind not in "biufc":
        return f"both have dtype {left.dtype}, but only numbers can be verified"
    if left.shape != right.shape:
        return f"expected shape {list(left.shape)} in sample {sample!r}, got {list(right.shape)}"
    return ""


def _unlike_rounding(output: ComparedOutput, noise: Noise | None) -> str:
    """Return what makes errors that are within a tolerance made of noise no noise, or ""."""
    if noise is None or noise.size is None or not output.passed:
        return ""
    needed = (needed_atol(left, right, [output.rtol]) for left, right in output.arrays)
    what = systematic(output.arrays, noise.size) if any(atol > DEFAULT_TOLERANCE for (atol,) in needed) else ""
    return what and (
        f"its errors aren't rounding: {what}, as with a wrong weight, though every element is within the tolerance "
        f"made for rounding (atol {output.atol:g}, rtol {output.rtol:g}); set atol to accept them"
    )


def _non_finite(totals: Tally, sample: str, reference: np.ndarray, value: np.ndarray) -> str:
    first = f", first at {list(totals.first_non_finite[1])}" if totals.first_non_finite else ""
    if totals.reference_nan:
        return (
            f"the source model returns NaN for {totals.reference_nan} of {reference.size} values in sample "
            f"{sample!r}{first}, and NaN equals nothing; narrow value_ranges, set samples that the model is made for, "
            "or remove this output from the model if that is intended"
        )
    if totals.reference_infinite:
        return (
            f"{totals.reference_infinite} of {reference.size} values are infinite in the source model in sample "
            f"{sample!r}{first}, but not the same in the converted model"
        )
    if totals.value_non_finite:
        return (
            f"{totals.value_non_finite} of {value.size} values are NaN or infinite in sample {sample!r}{first}, but "
            "finite in the source model"
        )
    return ""


def _comparison(output: ComparedOutput, samples: int, found: Agreement | None, gates: tuple[Gate, ...]) -> Comparison:
    totals = output.totals
    at = totals.first_non_finite or (totals.worst if totals.max_abs_error else None)
    worst = None
    if at is not None:
        sample, left, right = output.pairs[at[0]]
        worst = WorstElement(
            sample=sample,
            index=output.position(at[1]),
            reference=_plain(left[at[1]].item()),
            value=_plain(right[at[1]].item()),
        )
    compared = totals.compared > 0
    finite = totals.compared > totals.infinite
    relative = totals.max_rel_error
    return Comparison(
        output=output.name,
        passed=output.passed and all(gate.kept for gate in gates),
        atol=output.atol,
        rtol=output.rtol,
        samples=samples,
        total=totals.total,
        mismatched=totals.mismatched,
        max_abs_error=bounded(totals.max_abs_error) if compared else None,
        max_rel_error=bounded(relative) if relative is not None else None,
        mean_abs_error=bounded(totals.error_sum / totals.compared) if compared else None,
        worst=worst,
        reference_min=totals.low if finite else None,
        reference_max=totals.high if finite else None,
        problem=output.problem,
        slices=output.slices,
        agreement=found,
        gates=gates,
        overruled=output.overruled and not output.problem,
        distribution=tuple(totals.distribution) if compared else (),
    )


def _plain(value: object) -> Plain:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
