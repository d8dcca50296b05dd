"""Judges a model whose state was rolled forward, by the same arithmetic as single steps.

Rounding adds up over steps, in the source model too. So its own is measured over the same steps, and a model is
compared for as many of them as rounding leaves its outputs alone: those of a chaotic one soon depend on the last digit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from navigator.records import DEFAULT_TOLERANCE, Comparison, ModelConfig, Precision, Tolerances, Verdict
from navigator.verify.compare import verify
from navigator.verify.decisions import Scores
from navigator.verify.differences import bounded, differences, pieces
from navigator.verify.gates import gates_of
from navigator.verify.noise import FACTOR, Noise, measured
from navigator.verify.outputs import Outputs, tolerance_of
from navigator.verify.tolerances import least_sqnr_db, rounding_limit, tolerances, units_of

# The distance between neighbouring numbers from 1 on: float16, and int8 of a range of 2.
_STEPS = {Precision.FP16: 2.0**-10, Precision.INT8: 2.0**-7}

# Where rounding needs so many times the tolerance of a single step, it has been amplified, and no longer tells how far
# a right conversion may be off: of 40 recurrent networks with random weights, 2 were off by 7 and 9 times the noise.
_AMPLIFIED = 30.0

# Values so many times larger than those of a single step grow without end.
_GROWN = 1e4

# How many times its estimated rounding a reduced precision needs: it has more operations that round than weights.
_ROOM = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rolled:
    """The rounding of the source model over the steps of a roll.

    Args:
        noise: of each output, by the name of the sample: only those where it's no more than rounding.
        numbers: after how many steps each sample is, by its name.
        ended: why the samples after these aren't compared, or "".
    """

    noise: Mapping[str, Mapping[str, Noise]]
    numbers: Mapping[str, int]
    ended: str = ""

    @property
    def note(self) -> str:
        """What to tell of samples that aren't compared, "" if all are."""
        steps = [self.numbers[name] for name in self.noise]
        compared = f"after up to {steps[-1]} steps" if steps else "only in single steps"
        return f"states: compared {compared}, since {self.ended}" if self.ended else ""


def over_steps(
    reference: Outputs,
    rolled: Outputs,
    probes: Outputs,
    numbers: Mapping[str, int],
    rtol: Mapping[str, float],
    single: Mapping[str, Noise],
) -> Rolled:
    """Return the source model's own rounding over the steps of a roll, up to where it's too much to be compared.

    Args:
        reference: the source model's outputs for single steps.
        rolled: its outputs after several steps, in order.
        probes: the same with other rounding in every step.
        numbers: after how many steps each sample of `rolled` is.
        rtol: relative tolerance by output name, "" for all others.
        single: the noise of single steps.
    """
    found: dict[str, dict[str, Noise]] = {}
    other = dict(probes)
    usual: dict[str, float] = {}
    for _, arrays in reference:
        for name, array in arrays.items():
            usual[name] = max(usual.get(name, 0.0), _magnitude(array))
    for sample, arrays in rolled:
        ended = _unlike(arrays, other.get(sample))
        if not ended:
            noise = measured([*reference, *rolled], [(sample, other[sample])], rtol)
            ended = next((why for name in noise if (why := _amplified(name, noise[name], arrays, single, usual))), "")
        if ended:
            return Rolled(noise=found, numbers=numbers, ended=f"{ended} too much in step {numbers[sample]}")
        found[sample] = noise
    return Rolled(noise=found, numbers=numbers)


def judge(
    model: ModelConfig,
    precision: Precision,
    reference: Outputs,
    rolled: Outputs,
    outputs: Outputs,
    *,
    known: Rolled,
    single: Mapping[str, Noise],
    stopped: str = "",
) -> Verdict | None:
    """Compare the outputs of a converted model after several steps with the source model's, None if there are none.

    The tolerances are those of single steps, with the noise of as many steps: for fp16 and int8, a part of the range. A
    reduced precision rounds more, and that grows like the noise: it's compared as long as that leaves room.

    Args:
        model: its configuration.
        precision: the precision of the converted model.
        reference: the source model's outputs for single steps.
        rolled: its outputs after several steps.
        outputs: the same of the converted model, as far as it got.
        known: the source model's own rounding.
        single: that of single steps.
        stopped: why it got no further.
    """
    everything = [*reference, *rolled]
    samples: list[str] = []
    for sample in known.noise:
        if not _has_room(model, precision, everything, known.noise[sample]):
            break
        samples.append(sample)
    if not samples:
        return None
    expected, actual = ([each for each in some if each[0] in samples] for some in (rolled, outputs))
    # Whether it's empty in single steps is judged there.
    empty = {name for _, arrays in rolled for name, array in arrays.items() if not array.size}
    units, least_sqnr = units_of(model, precision, everything), least_sqnr_db(model, precision, everything)

    def compared(steps: Collection[str], noise: Mapping[str, Noise]) -> Verdict:
        allowed = tolerances(model, precision, everything, noise)
        verdict = verify(
            *([each for each in some if each[0] in steps] for some in (expected, actual)),
            atol=allowed.atol,
            rtol=allowed.rtol,
            units=units,
            least_sqnr_db=least_sqnr,
            measured=precision is not Precision.FP32,
            scores=Scores(axes=model.scores, top_k=model.top_k),
            gates=gates_of(model, precision),
            rounding_limit=rounding_limit(precision),
            empty=empty,
        )
        amounts = {name: bounded(each.largest) for name, each in noise.items()}
        return replace(
            verdict, comparisons=tuple(replace(each, noise=amounts.get(each.output)) for each in verdict.comparisons)
        )

    if precision is Precision.FP32 and model.atol == "auto":
        # Noise grows, and the tolerance of the last step would hide what the first ones show.
        noise = [_largest([single, *map(known.noise.__getitem__, samples[:end])]) for end in range(1, len(samples) + 1)]
        verdict = _together([compared([sample], each) for sample, each in zip(samples, noise, strict=True)])
    else:
        verdict = compared(samples, {})
    comparisons = tuple(
        replace(
            each,
            steps=tuple(known.numbers[sample] for sample in samples),
            problem=f"the state can't be fed back: {stopped}" if each.problem and stopped else each.problem,
        )
        for each in verdict.comparisons
    )
    failing = next((each.output for each in comparisons if not each.passed and not each.problem), None)
    warnings = [] if failing is None else [_growth(failing, expected, actual, known)]
    return replace(verdict, comparisons=comparisons, warnings=tuple(warnings))


def joined(single: Verdict, rolled: Verdict | None) -> Verdict:
    """Return the verdict on single steps and on several; with tolerances that pass both, if there are any."""
    if rolled is None:
        return single
    failed = [each.suggested for each in (single, rolled) if not each.passed]
    suggested = [each for each in failed if each is not None]
    return replace(
        single,
        comparisons=(*single.comparisons, *rolled.comparisons),
        suggested=_wider(suggested) if suggested and suggested == failed else None,
        warnings=(*single.warnings, *rolled.warnings),
    )


def _growth(name: str, rolled: Outputs, outputs: Outputs, known: Rolled) -> str:
    """Say how the error of an output grows with the steps, at a few of them."""
    errors = []
    last = len(rolled) - 1
    for index in sorted({0, last // 4, last // 2, last}):
        (sample, left), (_, right) = rolled[index], outputs[index]
        pairs = pieces(left[name], right[name])
        largest = max((float(differences(*pair)[0].max(initial=0.0)) for _, *pair in pairs), default=0.0)
        errors.append(f"{largest:.2g} after {known.numbers[sample]}")
    return f"{name!r}: the error when the state is fed back is {', '.join(errors)} steps"


def _magnitude(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) if array.dtype.kind in "fc" else 0.0


def _amplified(
    name: str, noise: Noise, arrays: Mapping[str, np.ndarray], single: Mapping[str, Noise], usual: Mapping[str, float]
) -> str:
    """Return why rounding says no more how far a right conversion may be off, or "". A sum's may grow like the sum."""
    grown = max(1.0, _magnitude(arrays[name]) / (usual.get(name) or 1.0))
    atol = single[name].atol if name in single else DEFAULT_TOLERANCE
    amplified = noise.atol > _AMPLIFIED * atol * grown or grown > _GROWN
    return f"rounding alone changes {name}" if noise.rejected or amplified else ""


def _unlike(arrays: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray] | None) -> str:
    """Return how rounding changes what it shouldn't, or ""."""
    for name, array in arrays.items():
        again = None if other is None else other.get(name)
        if again is None or again.shape != array.shape:
            return f"rounding changes the shape of {name}"
        if array.dtype.kind in "biu" and not np.array_equal(array, again):
            return f"rounding alone changes {name}"
    return ""


def _has_room(model: ModelConfig, precision: Precision, reference: Outputs, noise: Mapping[str, Noise]) -> bool:
    """Return whether the tolerances of `precision` have room for its own rounding."""
    allowed = tolerances(model, precision, reference, noise)
    dtypes = {name: array.dtype for _, arrays in reference for name, array in arrays.items()}
    for name, each in noise.items():
        atol = tolerance_of(allowed.atol, name)
        if precision is Precision.FP32:
            if each.largest * FACTOR > atol and each.atol > atol:
                return False
        elif _ROOM * each.largest * max(1.0, _STEPS[precision] / float(np.finfo(dtypes[name]).eps)) > atol:
            return False
    return True


def _largest(noises: Sequence[Mapping[str, Noise]]) -> dict[str, Noise]:
    """Return the largest noise of each output that a tolerance can be made of."""
    found: dict[str, Noise] = {}
    for noise in noises:
        for name, each in noise.items():
            if not each.rejected:
                known = found.get(name, each)
                found[name] = Noise(largest=max(each.largest, known.largest), atol=max(each.atol, known.atol))
    return found


def _together(steps: Sequence[Verdict]) -> Verdict:
    """Return one comparison for each output: that of the step which is the furthest from its tolerance, for all."""
    names = dict.fromkeys(each.output for step in steps for each in step.comparisons)
    found = [[each for step in steps for each in step.comparisons if each.output == name] for name in names]
    comparisons = tuple(
        replace(
            max(some, key=_share),
            samples=sum(each.samples for each in some),
            total=sum(each.total for each in some),
            mismatched=sum(each.mismatched for each in some),
        )
        for some in found
    )
    failed = [step.suggested for step in steps if not step.passed]
    suggested = [each for each in failed if each is not None]
    return Verdict(comparisons=comparisons, suggested=_wider(suggested) if suggested and suggested == failed else None)


def _share(comparison: Comparison) -> tuple[bool, bool, float]:
    """Sort comparisons by how far they're from passing."""
    error = comparison.max_abs_error or 0.0
    return not comparison.passed, bool(comparison.problem), error / comparison.atol if comparison.atol else error


def _wider(suggested: Sequence[Tolerances]) -> Tolerances:
    def widest(entries: Iterable[Mapping[str, float]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for each in entries:
            found |= {name: max(value, found.get(name, 0.0)) for name, value in each.items()}
        return found

    return Tolerances(atol=widest(each.atol for each in suggested), rtol=widest(each.rtol for each in suggested))
