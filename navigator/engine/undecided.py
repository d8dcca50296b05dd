"""Where a conversion differs in only a few elements: whether rounding alone decides those in the source model too."""

from dataclasses import replace

from navigator.engine.outcomes import Failure, Reference
from navigator.engine.step_context import StepContext, answer_of, outputs_in
from navigator.engine.subject import Subject
from navigator.models.files import model_files
from navigator.records import Precision, to_data
from navigator.samples.found import with_found
from navigator.samples.probes import CHOSEN
from navigator.verify.outputs import Outputs
from navigator.verify.ties import all_settled
from navigator.verify.tolerances import tolerances
from navigator.verify.undecided import differing, undecided, warnings
from navigator.workers.answers import RoundingAnswer


def decided_alike(
    subject: Subject, reference: Reference, expected: Outputs, actual: Outputs, *, context: StepContext
) -> tuple[Outputs, tuple[str, ...]] | None:
    """Return a conversion's outputs with the source model's where rounding decides, and warnings; None if it doesn't.

    Args:
        subject: what is verified.
        reference: the source model's, with the noise that tolerances are made of.
        expected: the outputs of the source model.
        actual: those of the converted model, for the same samples.
        context: where the source model can be run.
    """
    model, step = subject.model, subject.step
    if step.precision is not Precision.FP32 or reference.unstable or not subject.together:
        return None
    allowed = tolerances(model, step.precision, expected, reference.noise)
    names = differing(expected, actual, allowed.atol, allowed.rtol)
    if not names or CHOSEN.intersection(names):
        return None
    directory = context.workspace.scratch(model.model_name, step.label, "undecided")
    directory.mkdir()  # so that the worker may write nothing beside it
    arguments = {
        "config": to_data(replace(with_found(model, reference.found), inputs=reference.signature.inputs)),
        "samples": str(reference.samples),
        "names": names,
        "runs": str(directory),
    }
    reads = (*model_files(model.model_path), reference.samples)
    task = context.task("undecided", arguments, model.model_name, step.label, reads=reads, writes=(directory,))
    answer = answer_of(RoundingAnswer, context.workers.run(task), task)
    runs = outputs_in(directory, context.memory_bytes)
    if isinstance(answer, Failure) or isinstance(runs, str):
        return None
    masks = undecided(expected, [each for each in runs if each[0] in names], allowed.atol, allowed.rtol)
    return all_settled(expected, actual, masks), tuple(warnings(expected, masks))
