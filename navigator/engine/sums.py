"""Where a conversion fails: whether its sums, as its runtime rounds them, are all that it differs by."""

import math
import shutil

from navigator.engine.outcomes import Failure, Reference
from navigator.engine.step_context import StepContext, answer_of, outputs_in
from navigator.engine.subject import Subject, loading
from navigator.models.files import model_files
from navigator.records import Device, Format, Precision
from navigator.samples import storage
from navigator.verify.outputs import Outputs
from navigator.verify.search import excess, loses_numbers, with_exact_sums
from navigator.verify.tolerances import tolerances
from navigator.workers.answers import RoundingAnswer
from navigator.workers.noise import OFF, batch_size


def summed(
    subject: Subject, reference: Reference, expected: Outputs, actual: Outputs, *, context: StepContext
) -> Outputs | None:
    """Return what an ONNX model returns with exact sums for the samples that fail; None if that isn't known.

    Outputs change only where no more is in between than a runtime rounds in sums. Whether they match then is for the
    caller to compare: a wrong epsilon, axis or factor is in exact sums as well.

    Args:
        subject: what is verified.
        reference: the source model's, with the noise that tolerances are made of.
        expected: the outputs of the source model.
        actual: those of the converted model, for the same samples.
        context: where the converted model can be run.
    """
    model, step = subject.model, subject.step
    is_onnx = step.target_format is Format.ONNX and step.precision is Precision.FP32
    if not is_onnx or model.atol != "auto" or reference.unstable:
        return None
    allowed, converted = tolerances(model, step.precision, expected, reference.noise), dict(actual)
    errors = {name: excess(arrays, converted.get(name, {}), allowed.atol, allowed.rtol) for name, arrays in expected}
    # If there's none, the errors as a whole aren't like noise.
    names = [name for name, error in errors.items() if error > 1] or list(errors)
    if any(math.isinf(each) for each in errors.values()):
        return None
    directory = context.workspace.scratch(model.model_name, step.label, "summed")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()  # so that the worker may write nothing beside it
    samples = str(reference.samples)
    arguments = {**loading(subject, Device.CPU), "samples": samples, "names": names, "sums": str(directory)}
    reads = (*model_files(subject.artifact.path), reference.samples)
    task = context.task("sums", arguments, model.model_name, step.label, reads=reads, writes=(directory,))
    answer = answer_of(RoundingAnswer, context.workers.run(task), task)
    exact, off = (outputs_in(each, context.memory_bytes) for each in (directory, directory / OFF))
    if isinstance(answer, Failure) or isinstance(exact, str) or isinstance(off, str):
        return None
    exactly = dict(exact)
    # A divisor without its epsilon: what runs in float32 divides what rounding left.
    if any(loses_numbers(exactly.get(name, {}), [arrays, converted[name]]) for name, arrays in expected):
        return None
    inputs = dict(storage.load(reference.samples, mapped=True))
    return [
        (
            name,
            with_exact_sums(
                arrays,
                exactly[name],
                [each for other, each in off if other == name],
                atol=allowed.atol,
                rtol=allowed.rtol,
                rows=batch_size(reference.signature.inputs, inputs[name]),
            )
            if name in exactly and name in names
            else arrays,
        )
        for name, arrays in actual
    ]
