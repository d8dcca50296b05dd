"""The outputs of workers that rolled a state forward, read from their directories, and judged."""

from collections.abc import Mapping
from pathlib import Path

from navigator.engine.outcomes import Reference
from navigator.engine.step_context import outputs_in
from navigator.records import ModelConfig, Precision, Verdict
from navigator.verify.noise import Noise
from navigator.verify.outputs import Outputs
from navigator.verify.rolled import Rolled, joined, judge, over_steps
from navigator.verify.tolerances import tolerances
from navigator.workers.answers import Roll
from navigator.workers.rolled import DIRECTORY, GIVEN, sample_name


def source_rolled(
    model: ModelConfig,
    single: Outputs,
    rounding: Mapping[str, Noise],
    roll: Roll | None,
    *,
    outputs: Path,
    noise: Path,
    memory_bytes: int,
) -> Rolled | str | None:
    """Return the source model's own rounding over the steps of a roll, or why its outputs can't be read.

    Args:
        model: its configuration.
        single: its outputs for single steps.
        rounding: their noise.
        roll: how it was rolled; without, there's nothing to return.
        outputs: where its outputs are.
        noise: where those with other rounding are.
        memory_bytes: the memory that the worker had.
    """
    if roll is None:
        return None
    rolled, probes = (outputs_in(each / DIRECTORY, memory_bytes) for each in (outputs, noise))
    if isinstance(rolled, str) or isinstance(probes, str):
        return rolled if isinstance(rolled, str) else str(probes)
    numbers = {sample_name(number): number for number in roll.kept}
    if [name for name, _ in rolled] != list(numbers):
        return "its outputs can't be read: some steps are missing"
    rtol = tolerances(model, Precision.FP32, single).rtol
    return over_steps(single, rolled, probes, numbers, rtol, rounding)


def with_rolled(
    verdict: Verdict,
    model: ModelConfig,
    precision: Precision,
    reference: Reference,
    outputs: Path,
    *,
    stopped: str,
    memory_bytes: int,
) -> Verdict | str:
    """Return a verdict on single steps with that on several, or why outputs can't be read.

    Args:
        verdict: on single steps.
        model: its configuration.
        precision: the precision of the converted model.
        reference: the source model's outputs.
        outputs: where those of the converted model are.
        stopped: why it got no further.
        memory_bytes: the memory that the worker had.
    """
    if reference.rolled is None:
        return verdict
    places = (reference.outputs, reference.outputs / DIRECTORY, outputs / DIRECTORY)
    single, rolled, actual = (outputs_in(each, memory_bytes) for each in places)
    if isinstance(single, str) or isinstance(rolled, str) or isinstance(actual, str):
        return next(each for each in (single, rolled, actual) if isinstance(each, str))
    known, noise = reference.rolled, reference.noise
    return joined(verdict, judge(model, precision, single, rolled, actual, known=known, single=noise, stopped=stopped))


def with_steps(
    single: tuple[Outputs, ...], verdict: Verdict, reference: Reference, outputs: Path, *, memory_bytes: int
) -> tuple[Outputs, ...]:
    """Return inputs and outputs of single steps after those of the steps of a roll that were compared.

    The inputs of a step are those of the source model, with its own state. Steps are small, so they're kept first.

    Args:
        single: the inputs, the source model's outputs and the converted model's.
        verdict: on single steps and on several.
        reference: the source model's inputs and outputs.
        outputs: where those of the converted model are.
        memory_bytes: the memory that the worker had.
    """
    names = {sample_name(number) for each in verdict.comparisons for number in each.steps}
    if not names:
        return single
    places = (reference.samples / DIRECTORY / GIVEN, reference.outputs / DIRECTORY, outputs / DIRECTORY)
    steps = [outputs_in(each, memory_bytes) for each in places]
    rolled = [[each for each in sets if each[0] in names] for sets in steps if not isinstance(sets, str)]
    if len(rolled) < len(places):
        return single
    return tuple([*steps, *samples] for steps, samples in zip(rolled, single, strict=True))
