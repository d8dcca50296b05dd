"""The search for a disagreement after a verification that passed: inputs beside the samples.

By default, both models have run on them already, each in its own worker. Only outputs that are further apart than the
tolerances need another worker with both models, which tells what the source model's own rounding is there, and so do
numbers and sizes that only the converted model compares with. With `search_seconds`, that worker looks for inputs
itself. A worker's word isn't a verdict: what it found is compared here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from navigator.cache.digests import stamp
from navigator.engine.dumps import kept
from navigator.engine.outcomes import Failure, Verified
from navigator.engine.step_context import StepContext, answer_of, outputs_in
from navigator.engine.subject import Subject, loading
from navigator.engine.verification import disturbed
from navigator.errors import NavigatorError
from navigator.models.files import model_files
from navigator.records import Device, SampleInfo, Searched, Tolerances, Verdict, to_data
from navigator.render.values import count
from navigator.samples import storage
from navigator.samples.constants import Special
from navigator.samples.found import with_found
from navigator.verify.compare import verify
from navigator.verify.differences import bounded
from navigator.verify.outputs import Outputs, always_empty
from navigator.verify.search import (
    CONVERTED,
    EXACT,
    INPUTS,
    NUDGE,
    OFF,
    SOURCE,
    STEP,
    doubtful,
    excess,
    with_exact_sums,
    without_rounding,
)
from navigator.verify.ties import all_settled
from navigator.verify.tolerances import rounding_limit, tolerances
from navigator.workers import ties
from navigator.workers.answers import SearchAnswer
from navigator.workers.noise import batch_size
from navigator.workers.search import DIRECTORY
from navigator.workers.task import Task

Arrays = Mapping[str, np.ndarray]

# In seconds, for what is further apart than the tolerances.
_DOUBTS = 2.0

# In seconds, for loading both models, and for the last inputs if a model takes forever for them.
_PATIENCE = 120.0


def searched(
    verified: Verified | Failure, subject: Subject, device: Device, *, context: StepContext
) -> Verified | Failure:
    """Return a verification after a search for a disagreement, unless there's none to make; it's made on the CPU.

    A search that fails says nothing about the conversion: its verdict stays, with a warning.
    """
    if isinstance(verified, Failure) or not verified.passed or device is not Device.CPU:
        return verified
    seconds, why = subject.model.search_seconds, subject.unsearchable
    if seconds == 0:
        return verified
    if why:
        return verified if seconds == "auto" else _warned(verified, f"not searched for a disagreement: {why}")
    try:
        if seconds == "auto":
            return _tried(verified, subject, context)
        task = _task(verified, subject, min(seconds, context.timeout_seconds / 2), context)
        return _searched(verified, task, subject, context)
    except (NavigatorError, OSError, ValueError) as error:
        return _warned(verified, f"the search for a disagreement ended: {error}")


def _tried(verified: Verified, subject: Subject, context: StepContext) -> Verified:
    """Compare what both models returned for inputs beside the samples, and look closer at what is too far apart."""
    model, step, reference = subject.model, subject.step, subject.reference
    own = context.workspace.scratch(model.model_name, step.label, f"outputs-{Device.CPU}")
    expected, actual = (_unstacked(each / DIRECTORY, context) for each in (reference.outputs, own))
    if not expected:
        return verified
    allowed = _allowed(verified, subject, _expected(subject, context))
    errors = {
        name: excess(arrays, actual.get(name, {}), allowed.atol, allowed.rtol) for name, arrays in expected.items()
    }
    told = Searched(
        seconds=reference.search_seconds + verified.search_seconds,
        inputs=len(errors),
        largest_error=max((each for each in errors.values() if each <= 1), default=0.0),
    )
    verified = replace(verified, verdict=replace(verified.verdict, searched=told))
    doubts = doubtful(errors, expected)
    special = verified.special.beyond(reference.special)
    if not doubts and not special:
        return verified
    return _searched(verified, _task(verified, subject, _DOUBTS, context, doubts, special), subject, context)


def _unstacked(directory: Path, context: StepContext) -> Mapping[str, Arrays]:
    return storage.unstacked(storage.load(directory, mapped=True, limit_bytes=context.memory_bytes, text=False))


def _searched(verified: Verified, task: Task, subject: Subject, context: StepContext) -> Verified:
    before = stamp(subject.artifact.path.parent)
    result = context.workers.run(task)
    answer = answer_of(SearchAnswer, result, task)
    verified = replace(
        verified,
        seconds=replace(verified.seconds, verify=verified.seconds.verify + result.seconds),
        peak_memory_bytes=max(verified.peak_memory_bytes, result.peak_memory_bytes),
    )
    if isinstance(answer, Failure):
        return _warned(verified, f"the search for a disagreement ended: {answer.message}")
    if stamp(subject.artifact.path.parent) != before:
        return disturbed(verified, "the converted model")
    earlier = verified.verdict.searched
    told = Searched(
        seconds=answer.seconds + (earlier.seconds if earlier else 0.0),
        inputs=earlier.inputs if earlier else answer.inputs,
        largest_error=max(answer.largest, earlier.largest_error if earlier else 0.0),
    )
    verified = replace(verified, verdict=replace(verified.verdict, searched=told))
    return _judged(verified, told, subject, context) if answer.found else verified


def _expected(subject: Subject, context: StepContext) -> Outputs:
    expected = outputs_in(subject.reference.outputs, context.memory_bytes)
    return [] if isinstance(expected, str) else expected


def _task(
    verified: Verified,
    subject: Subject,
    seconds: float,
    context: StepContext,
    suspects: Sequence[str] = (),
    special: Special | None = None,
) -> Task:
    model, step, reference = subject.model, subject.step, subject.reference
    found = context.workspace.scratch(model.model_name, step.label, "found")
    found.mkdir()  # so that the worker may write nothing beside it
    allowed = _allowed(verified, subject, _expected(subject, context))
    arguments = {
        **loading(subject, Device.CPU),
        "config": to_data(replace(with_found(model, reference.found), inputs=reference.signature.inputs)),
        "samples": str(reference.samples),
        "seconds": seconds,
        "suspects": list(suspects),
        "special": None if special is None else to_data(special),
        "atol": dict(allowed.atol),
        "rtol": dict(allowed.rtol),
        "found": str(found),
    }
    reads = (*model_files(model.model_path), subject.artifact.path.parent, reference.samples, *step.options.files)
    task = context.task(
        "search",
        arguments,
        model.model_name,
        step.label,
        reads=reads,
        writes=(found,),
        tf32=Device.CPU not in step.devices,
    )
    return replace(task, timeout_seconds=min(task.timeout_seconds, _PATIENCE + 2 * seconds))


def _allowed(verified: Verified, subject: Subject, expected: Outputs) -> Tolerances:
    """Return the tolerances that the conversion has passed with, which noise may have widened where it failed."""
    allowed = tolerances(subject.model, subject.step.precision, expected, subject.reference.noise)
    passed = {each.output: each.atol for each in verified.verdict.comparisons if not each.steps}
    return replace(allowed, atol={**allowed.atol, **passed})


def _judged(verified: Verified, told: Searched, subject: Subject, context: StepContext) -> Verified:
    """Compare what a search found, and keep it if it's a disagreement."""
    model, step, reference = subject.model, subject.step, subject.reference
    scratch = context.workspace.scratch
    found = _left(scratch(model.model_name, step.label, "found"), context)
    expected, actual = (
        outputs_in(each, context.memory_bytes)
        for each in (reference.outputs, scratch(model.model_name, step.label, f"outputs-{Device.CPU}"))
    )
    if found is None or isinstance(expected, str) or isinstance(actual, str):
        return _warned(verified, "what the search for a disagreement found can't be read")
    inputs, source, converted = (found.get(each, [{}])[0] for each in (INPUTS, SOURCE, CONVERTED))
    allowed = _allowed(verified, subject, expected)
    rows = batch_size(reference.signature.inputs, inputs)
    steps, nudges = found.get(STEP, []), found.get(NUDGE, [])

    def unexplained(outputs: Arrays) -> tuple[Arrays, float]:
        left = without_rounding(source, outputs, steps, nudges, atol=allowed.atol, rtol=allowed.rtol, rows=rows)
        return left, excess(source, left, allowed.atol, allowed.rtol)

    exactly = [
        with_exact_sums(converted, each, found.get(OFF, []), atol=allowed.atol, rtol=allowed.rtol, rows=rows)
        for each in found.get(EXACT, [])
    ]
    converted, error = unexplained(converted)
    if min([error, *(unexplained(each)[1] for each in exactly)]) <= 1:
        return verified
    equal = outputs_in(reference.outputs / ties.DIRECTORY, context.memory_bytes)
    settled = actual if isinstance(equal, str) else all_settled(expected, actual, equal)
    name = _unused([name for name, _ in expected])
    runs = {
        f"{model.model_format}-runner": [(name, source), *expected],
        f"{step.target_format}-converted-{Device.CPU}-runner": [(name, converted), *settled],
    }
    again = verify(
        *runs.values(),
        atol=allowed.atol,
        rtol=allowed.rtol,
        rounding_limit=rounding_limit(step.precision),
        empty=always_empty(model, reference.signature.outputs),
    )
    verdict = _replaced(verified.verdict, again, replace(told, largest_error=bounded(error), sample=name))
    samples = [(name, inputs), *storage.load(reference.samples, mapped=True)]
    shapes = {key: array.shape for key, array in inputs.items()}
    return replace(
        verified,
        infos=(*verified.infos, SampleInfo(name=name, shapes=shapes)),
        verdict=kept(verdict, samples, runs, model, step, context),
    )


def _left(directory: Path, context: StepContext) -> Mapping[str, Sequence[Arrays]] | None:
    """Return what a search left: sets of arrays by what they are; None if it can't be read, or has text for outputs."""
    found = outputs_in(directory, context.memory_bytes, text=True)
    if isinstance(found, str):
        return None
    sets: dict[str, list[Arrays]] = {}
    for name, arrays in found:
        if name != INPUTS and any(array.dtype.kind == "U" for array in arrays.values()):
            return None
        sets.setdefault(name, []).append(arrays)
    return sets


def _replaced(known: Verdict, verdict: Verdict, told: Searched) -> Verdict:
    """Return the known verdict with the comparisons of another, which has one sample more and no rolled steps."""
    noise = {each.output: each.noise for each in known.comparisons if not each.steps}
    comparisons = [replace(each, noise=noise.get(each.output)) for each in verdict.comparisons]
    return replace(
        known,
        comparisons=(*comparisons, *(each for each in known.comparisons if each.steps)),
        suggested=verdict.suggested,
        warnings=tuple(dict.fromkeys((*known.warnings, *verdict.warnings, _found(told)))),
        searched=told,
    )


def _unused(names: Sequence[str]) -> str:
    """Return a name for the sample that a search found: the user's own may be called so too."""
    name = "found"
    while name in names:
        name += "_"
    return name


def _found(told: Searched) -> str:
    tried = f"{count(told.inputs, 'set')} of inputs in {told.seconds:.2g} s"
    return (
        f"no other sample shows this: the search added sample {told.sample} after {tried}; if the model never gets "
        "such inputs, say so with value_ranges"
    )


def _warned(verified: Verified, warning: str) -> Verified:
    verdict = verified.verdict
    return replace(verified, verdict=replace(verdict, warnings=(*verdict.warnings, warning)))
