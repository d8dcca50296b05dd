"""Rounding where a conversion fails: the source model's own, and that of a conversion to fp16."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from navigator.engine.outcomes import Failure, Reference
from navigator.engine.step_context import StepContext, answer_of, outputs_in
from navigator.models.files import model_files
from navigator.records import Device, Format, ModelConfig, Precision, Step, to_data
from navigator.samples.found import with_found
from navigator.samples.probes import CHOSEN, DECIDING
from navigator.verify.devices import Disagreement
from navigator.verify.exceptions import Rounded, transferred
from navigator.verify.noise import Noise, measured
from navigator.verify.outputs import Outputs
from navigator.verify.search import excess
from navigator.verify.tolerances import tolerances, units_of
from navigator.verify.unstable import disagreement, unlimited
from navigator.workers.answers import RoundingAnswer
from navigator.workers.noise import BATCHES

# The worst ones show what rounding does; the source model is run on no more.
_MOST_SAMPLES = 3


def applied(model: ModelConfig, step: Step, reference: Reference) -> dict[str, Noise]:
    """Return the measured noise of the outputs whose tolerance was made from it."""
    if step.precision is not Precision.FP32 or model.atol != "auto":
        return {}
    return {name: each for name, each in reference.noise.items() if not each.rejected}


@dataclass(frozen=True, kw_only=True, slots=True)
class WhereItFails:
    """The reference with the noise of the samples that fail too, and the samples that rounding alone changes by far."""

    reference: Reference
    unstable: tuple[Disagreement, ...]


def measured_where_it_fails(
    model: ModelConfig, step: Step, reference: Reference, expected: Outputs, actual: Outputs, *, context: StepContext
) -> WhereItFails | None:
    """Return what the source model's rounding does in the samples that fail, if that's what makes them fail; else None.

    The worst ones must each be within what the source model's rounding explains on that sample itself, and all others
    within what it explains on any of them. For values that were chosen to look for trouble, such as silence, that may
    be more than any tolerance: of values that should be equal, normalization makes what rounding left of them. Not for
    those at which a model decides: any step changes the answer there, and a right conversion takes none.

    Args:
        model: its configuration.
        step: the conversion.
        reference: the source model's, with the noise that `atol` was made of.
        expected: the outputs of the source model.
        actual: those of the converted model, for the same samples.
        context: where the source model can be run.
    """
    if step.precision is not Precision.FP32 or model.atol != "auto" or reference.unstable:
        return None
    converted = dict(actual)

    def error(name: str, arrays: Mapping[str, np.ndarray], noise: Mapping[str, Noise]) -> float:
        allowed = tolerances(model, step.precision, expected, noise)
        return excess(arrays, converted.get(name, {}), allowed.atol, allowed.rtol)

    errors = {name: error(name, arrays, reference.noise) for name, arrays in expected}
    failing = sorted((each for each in expected if errors[each[0]] > 1), key=lambda each: -errors[each[0]])
    if any(math.isinf(errors[name]) for name, _ in failing):
        return None
    # If there's none, the errors as a whole aren't like the noise that was measured.
    chosen = dict((failing or sorted(expected, key=lambda each: -_size(each[1])))[:_MOST_SAMPLES])
    ordinary = dict([each for each in expected if each[0] not in CHOSEN][:1])
    measured_in = _noise_of({**ordinary, **chosen}, model, step, reference, context)
    usual = next((measured_in[name] for name in ordinary if name in measured_in), {})
    noise, unstable = dict(reference.noise), []
    for name in filter(measured_in.__contains__, chosen):
        own, far = wider(reference.noise, measured_in[name]), unlimited(usual, measured_in[name])
        if error(name, chosen[name], own) <= 1:
            noise = wider(noise, own)
        elif name in CHOSEN - DECIDING and far and error(name, chosen[name], {**own, **far}) <= 1:
            unstable.append(disagreement(name, far))
        else:
            return None
    if any(error(name, arrays, noise) > 1 for name, arrays in failing[_MOST_SAMPLES:]):
        return None
    if noise == reference.noise and not unstable:
        return None
    return WhereItFails(reference=replace(reference, noise=noise), unstable=tuple(unstable))


def _size(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())


def of_fp16(
    model: ModelConfig,
    step: Step,
    reference: Reference,
    onnx: Path,
    expected: Outputs,
    actual: Outputs,
    *,
    itself: bool,
    context: StepContext,
) -> Rounded | None:
    """Return what an fp16 model returns if it rounds otherwise, for the samples that fail; None if it can't be run.

    Args:
        model: the source model's configuration.
        step: the conversion.
        reference: the source model's.
        onnx: the ONNX file that computes in fp16: the converted model, or what an engine was built from.
        expected: the outputs of the source model.
        actual: those of the converted model, for the same samples.
        itself: whether they are those of this file, on the CPU.
        context: where the file can be run.
    """
    allowed = tolerances(model, step.precision, expected)
    units = units_of(model, step.precision, expected)
    smallest = {name: min(unit.atol for unit in each) for name, each in units.items()}
    converted, atol = dict(actual), {**allowed.atol, **smallest}
    failing = [name for name, arrays in expected if excess(arrays, converted.get(name, {}), atol, allowed.rtol) > 1]
    directory = context.workspace.scratch(model.model_name, step.label, "rounded")
    shutil.rmtree(directory, ignore_errors=True)  # another device's
    directory.mkdir()  # so that the worker may write nothing beside it
    arguments = {
        "format": Format.ONNX,
        "path": str(onnx),
        "declared": to_data(reference.signature),
        "signature_name": None,
        "device": Device.CPU,
        "options": {"precision": step.precision},
        "samples": str(reference.samples),
        "names": failing,
        "noise": str(directory),
    }
    reads = (*model_files(onnx), reference.samples)
    task = context.task("fp16_rounding", arguments, model.model_name, step.label, reads=reads, writes=(directory,))
    answer = answer_of(RoundingAnswer, context.workers.run(task), task)
    runs = outputs_in(directory, context.memory_bytes)
    if isinstance(answer, Failure) or isinstance(runs, str):
        return None
    found = {name: [arrays for other, arrays in runs if other == name] for name in failing}
    return found if itself else {name: transferred(converted.get(name, {}), each) for name, each in found.items()}


def _noise_of(
    samples: Mapping[str, Mapping[str, np.ndarray]],
    model: ModelConfig,
    step: Step,
    reference: Reference,
    context: StepContext,
) -> Mapping[str, Mapping[str, Noise]]:
    """Run the source model with other rounding; return its noise by sample and output, nothing if it can't be run."""
    directory = context.workspace.scratch(model.model_name, step.label, "rounded")
    shutil.rmtree(directory, ignore_errors=True)  # what was measured for other samples
    directory.mkdir()  # so that the worker may write nothing beside it
    arguments = {
        "config": to_data(replace(with_found(model, reference.found), inputs=reference.signature.inputs)),
        "samples": str(reference.samples),
        "outputs": str(reference.outputs),
        "names": list(samples),
        "noise": str(directory),
    }
    reads = (*model_files(model.model_path), reference.samples, reference.outputs)
    task = context.task("rounding", arguments, model.model_name, step.label, reads=reads, writes=(directory,))
    answer = answer_of(RoundingAnswer, context.workers.run(task), task)
    rounded, batches = (outputs_in(each, context.memory_bytes) for each in (directory, directory / BATCHES))
    if isinstance(answer, Failure) or isinstance(rounded, str) or isinstance(batches, str):
        return {}
    return {
        name: measured([(name, arrays)], rounded, tolerances(model, step.precision, [(name, arrays)]).rtol, batches)
        for name, arrays in samples.items()
    }


def wider(one: Mapping[str, Noise], other: Mapping[str, Noise]) -> dict[str, Noise]:
    """Return the larger noise of each output, except what is too large to be rounding."""
    return {**one, **{name: _larger(one.get(name), each) for name, each in other.items() if not each.rejected}}


def _larger(one: Noise | None, other: Noise) -> Noise:
    """Return the noise of the larger tolerance, with the larger size of both."""
    if one is None:
        return other
    sizes = [each.size for each in (one, other) if each.size is not None]
    both = sizes[0].larger(sizes[1]) if len(sizes) > 1 else next(iter(sizes), None)
    return replace(max(one, other, key=lambda each: each.atol), size=both, apart=one.apart, rejected=False)
