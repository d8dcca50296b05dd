"""Runs the source model on the GPU, to tell what a device changes from what a conversion does.

Only where a conversion fails there: most are within their tolerances, which the CPU's rounding makes.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from navigator.engine import rounding
from navigator.engine.outcomes import Failure
from navigator.engine.step_context import StepContext, answer_of, outputs_in
from navigator.engine.subject import Subject
from navigator.models.files import model_files
from navigator.records import Device, Format, Precision, to_data
from navigator.runners import RUNNERS
from navigator.verify.devices import Disagreement, disagreements
from navigator.verify.noise import Noise, measured
from navigator.verify.outputs import Outputs
from navigator.verify.tolerances import tolerances
from navigator.workers.answers import InferAnswer

# The formats whose runners can run a source model on a GPU.
_ON_GPUS = (Format.TORCHSCRIPT, Format.TORCH_EXPORT, Format.ONNX)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnGpu:
    """What the source model returns on the GPU, beside the reference.

    `apart` are the samples for which it disagrees with itself; `noise` is its rounding, with what the GPU adds to it.
    """

    apart: tuple[Disagreement, ...]
    noise: Mapping[str, Noise]


def of_source(subject: Subject, expected: Outputs, *, context: StepContext) -> OnGpu | None:
    """Run the source model on the GPU; None if it can't be run there.

    Args:
        subject: what fails on the GPU.
        expected: the outputs of the source model on the CPU, for the samples that are compared.
        context: where the source model can be run.
    """
    model, reference = subject.model, subject.reference
    if model.model_format not in _ON_GPUS or not subject.together or reference.unstable:
        return None
    directory = context.workspace.scratch(model.model_name, subject.step.label, "source-on-gpu")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()  # so that the worker may write nothing beside it
    runner = RUNNERS[model.model_format]
    arguments = {
        "format": model.model_format,
        "path": str(model.model_path),
        "declared": to_data(reference.signature),
        "signature_name": model.signature_name,
        "device": Device.CUDA,
        "options": to_data(runner.Options()),
        "samples": str(reference.samples),
        "outputs": str(directory),
        "roll": None,
    }
    task = context.task(
        "infer",
        arguments,
        model.model_name,
        subject.step.label,
        unit="source-on-gpu",
        reads=(*model_files(model.model_path), reference.samples),
        writes=(directory,),
        tf32=False,
    )
    answer = answer_of(InferAnswer, context.workers.run(task), task)
    own = outputs_in(directory, context.memory_bytes)
    if isinstance(answer, Failure) or isinstance(own, str):
        return None
    allowed = tolerances(model, Precision.FP32, expected, reference.noise)
    apart = disagreements(expected, own, allowed.atol, allowed.rtol)
    left_out = {each.sample for each in apart}
    alike = [each for each in expected if each[0] not in left_out]
    return OnGpu(apart=apart, noise=rounding.wider(reference.noise, measured(alike, own, allowed.rtol)))
