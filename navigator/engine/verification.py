"""The unit of work that runs an artifact on one device and compares its outputs with the source model's."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from navigator.cache.digests import stamp
from navigator.engine import rounding
from navigator.engine.dumps import kept
from navigator.engine.judgement import Judgement
from navigator.engine.metric import metric_of, unproven_by
from navigator.engine.outcomes import Failure, Reference, Verified
from navigator.engine.rolled import with_rolled, with_steps
from navigator.engine.step_context import StepContext, answer_of, failing_alone, outputs_in
from navigator.engine.subject import Subject, loading
from navigator.models.files import files_of, model_files
from navigator.records import (
    Device,
    Json,
    MetricResult,
    ModelConfig,
    State,
    Step,
    Verdict,
    to_data,
)
from navigator.samples import storage
from navigator.samples.constants import Special
from navigator.verify.differences import bounded
from navigator.verify.metric import overrules
from navigator.verify.metric_sentences import verdict_sentence
from navigator.verify.tolerances import configured
from navigator.workers.answers import InferAnswer
from navigator.workers.task import Task, TaskResult


@failing_alone
def run_verify(subject: Subject, device: Device, *, context: StepContext) -> Verified:
    """Run an artifact on the samples on one device and compare; a failure is returned, not raised."""
    before = stamp(subject.artifact.path.parent)
    task = _task(subject, device, context)
    # The digest of gigabytes takes a while: meanwhile the worker loads them.
    with ThreadPoolExecutor(max_workers=1) as thread:
        read = thread.submit(subject.verified, context.watch(), context.remembered)
        result = context.workers.run(task)
        unjudged = read.result()
    answer = answer_of(InferAnswer, result, task)
    verified = _ran(unjudged, answer, result, task)
    if isinstance(answer, Failure):
        where = "" if device is Device.CPU else " on the GPU"
        what = "wasn't verified" if answer.full_disk else "can't be run"
        message = f"converted, but {what}{where}: {answer.message}"
        return replace(verified, failure=replace(answer, message=message))
    judged = _judged(verified, subject, device, answer, context)
    # Checked last, so that the comparison used unchanged files.
    if stamp(subject.artifact.path.parent) != before:
        return disturbed(verified, "the converted model")
    known = subject.reference
    if stamp(known.samples, known.calibration, known.outputs) != known.written:
        return disturbed(verified, "the reference")
    return judged


@failing_alone
def unverified(subject: Subject, *, context: StepContext) -> Verified:
    """Return the result for an artifact that this machine can't run."""
    targets = ", ".join(subject.artifact.properties.compute_capabilities)
    built_for = f"built for compute capability {targets}" if targets else "built"
    failure = Failure(
        state=State.UNVERIFIED,
        message=f"{built_for}, not run on this machine: {subject.step.unrunnable}",
        remedy="verify it on a machine that can run it",
    )
    return replace(
        subject.verified(context.watch(), context.remembered), failure=failure, cached=subject.artifact.cached
    )


def _task(subject: Subject, device: Device, context: StepContext) -> Task:
    model, step, reference = subject.model, subject.step, subject.reference
    outputs = context.workspace.scratch(model.model_name, step.label, f"outputs-{device}")
    outputs.mkdir()  # so that the worker may write nothing beside it
    arguments = {
        **loading(subject, device),
        "samples": str(reference.samples),
        "outputs": str(outputs),
        "roll": to_data(reference.roll),
        "searches": device is Device.CPU and reference.search_seconds > 0 and not subject.unsearchable,
    }
    origin = subject.weights_of if device is Device.CPU else None
    if origin is not None:
        arguments |= {"source_format": origin[0], "source": str(origin[1]), "precision": step.precision}
        arguments["originals"] = _originals(subject, context)
    return context.task(
        "infer",
        arguments,
        model.model_name,
        step.label,
        unit="verify" if device is Device.CPU else f"verify-{device}",
        reads=(
            *(subject.artifact.path.parent, reference.samples, *step.options.files),
            *(model_files(origin[1]) if origin is not None else ()),
        ),
        writes=(outputs,),
        # TF32 is an engine's own matter. A traced TorchScript module has it written into its convolutions: only the
        # libraries' own switch goes before that.
        tf32=Device.CPU not in step.devices,
    )


def _originals(subject: Subject, context: StepContext) -> dict[str, Json]:
    """Return which files of an artifact are copies of which files, whose weights needn't be compared."""
    files = [path for _, path in files_of(subject.artifact.path.parent)]
    return {str(path): str(found) for path in files if (found := context.remembered.original(path))}


def _ran(verified: Verified, answer: InferAnswer | Failure, result: TaskResult, task: Task) -> Verified:
    """Return the worker's result for the artifact, not compared yet."""
    told = None if isinstance(answer, Failure) else answer
    artifact = verified.output_model
    return replace(
        verified,
        output_model=replace(
            artifact,
            signature=told.signature if told else None,
            properties=artifact.properties.updated(told.properties) if told else artifact.properties,
        ),
        search_seconds=told.search_seconds if told else 0.0,
        special=told.special if told else Special(),
        latencies=told.latencies if told else (),
        seconds=replace(verified.seconds, verify=result.seconds),
        peak_memory_bytes=max(verified.peak_memory_bytes, result.peak_memory_bytes),
        log_path=task.log_path,
    )


def _judged(
    verified: Verified, subject: Subject, device: Device, answer: InferAnswer, context: StepContext
) -> Verified:
    """Compare an artifact's outputs with the reference; keep both after a mismatch and in verbose runs."""
    model, step, reference = subject.model, subject.step, subject.reference
    outputs = context.workspace.scratch(model.model_name, step.label, f"outputs-{device}")
    expected, made = (outputs_in(each, context.memory_bytes) for each in (reference.outputs, outputs))
    if isinstance(expected, str) or isinstance(made, str):
        return _unreadable(verified, made if isinstance(made, str) else str(expected))
    names = [name for name, _ in subject.compared(expected)]
    metric = metric_of(model, reference, names, outputs, (step.label, device), context)
    actual = subject.compared(made)
    judgement = Judgement(subject, device, expected, actual, overruled=_overruled(metric, model, step), context=context)
    judgement.excuse()
    reference, verdict = judgement.reference, _told(judgement, verified, metric, answer, subject)
    rolled = with_rolled(
        verdict, model, step.precision, reference, outputs, stopped=answer.stopped, memory_bytes=context.memory_bytes
    )
    if isinstance(rolled, str):
        return _unreadable(verified, rolled)
    is_comparable = not any(each.problem for each in verdict.comparisons)
    verdict = replace(rolled, comparisons=tuple(replace(each, device=device) for each in rolled.comparisons))
    if context.verbose or not verdict.passed:
        names = [name for name, _ in judgement.wanted]
        samples = [each for each in storage.load(reference.samples, mapped=True) if each[0] in names]
        single = (samples, judgement.wanted, [each for each in actual if each[0] in names])
        sets = with_steps(single, verdict, reference, outputs, memory_bytes=context.memory_bytes)
        runners = (f"{model.model_format}-runner", f"{step.target_format}-converted-{device}-runner")
        verdict = kept(verdict, sets[0], dict(zip(runners, sets[1:], strict=True)), model, step, context)
    failure = _failure(verdict, verified, metric, subject, reference, is_comparable=is_comparable)
    return replace(verified, verdict=verdict, failure=failure)


def _told(
    judgement: Judgement,
    verified: Verified,
    metric: MetricResult | Failure | None,
    answer: InferAnswer,
    subject: Subject,
) -> Verdict:
    """Return the verdict with all that is known of the comparison besides."""
    verdict, reference = judgement.verdict, judgement.reference
    noise = rounding.applied(subject.model, subject.step, reference)
    largest = {name: bounded(each.largest) for name, each in noise.items()}
    return replace(
        verdict,
        comparisons=tuple(replace(each, noise=largest.get(each.output)) for each in verdict.comparisons),
        warnings=(*judgement.warnings, *_notes(verified, reference)),
        metrics=(metric,) if isinstance(metric, MetricResult) else (),
        weights=answer.weights,
        # No tolerance makes up for a wrong weight.
        suggested=None if answer.weights is not None and answer.weights.wrong else verdict.suggested,
    )


def _failure(
    verdict: Verdict,
    verified: Verified,
    metric: MetricResult | Failure | None,
    subject: Subject,
    reference: Reference,
    *,
    is_comparable: bool,
) -> Failure | None:
    """Return why a conversion hasn't passed if there's more to say than the verdict does."""
    if isinstance(metric, Failure) and is_comparable:
        return metric
    if not verdict.passed:
        return _explained(verdict, verified, reference)
    if subject.calibrated and not reference.held_out:
        return _unproven(subject.model, verified)
    return unproven_by(metric, subject.step.precision) if isinstance(metric, MetricResult) else None


def _unreadable(verified: Verified, why: str) -> Verified:
    """Return the result for outputs that can't be read."""
    failure = Failure(state=State.FAILED, message=f"converted, but {why}", log_path=verified.log_path)
    return replace(verified, failure=failure)


def _explained(verdict: Verdict, verified: Verified, reference: Reference) -> Failure | None:
    """Return a mismatch with what to do about it, where its cause is known."""
    message, remedy = verdict_sentence(verdict), ""
    if reference.unstable:
        message = f"the source model keeps a state, which the converted model has lost: {message}"
        remedy = reference.state_advice
    elif warned := [each for each in verified.output_model.properties.warnings if "; set " in each]:
        remedy = warned[0].partition("; ")[2]
    if not remedy:
        return None
    return Failure(state=State.MISMATCHED, message=message, remedy=remedy, log_path=verified.log_path)


def _overruled(metric: MetricResult | Failure | None, model: ModelConfig, step: Step) -> frozenset[str]:
    """Return the outputs whose default tolerances the user's metric overrules."""
    if not isinstance(metric, MetricResult):
        return frozenset()
    return overrules(metric, step.precision, configured(model, step.precision))


def _unproven(model: ModelConfig, verified: Verified) -> Failure:
    """Return why a match on the samples that int8 scales were measured on isn't a proof."""
    if model.samples:
        same = "the same samples"
        remedy = "add another file to samples, or set calibration_samples to other files"
    else:
        same = "the same random inputs"
        remedy = "set samples to two or more files of real inputs, or set samples and calibration_samples"
    message = f"converted, but its match proves little: it was calibrated and compared on {same}"
    return Failure(state=State.UNVERIFIED, message=message, remedy=remedy, log_path=verified.log_path)


def _notes(verified: Verified, reference: Reference) -> list[str]:
    """Return the warnings about a comparison."""
    properties = verified.output_model.properties
    notes = [_unstable(reference)] if reference.unstable else []
    notes += [
        f"the converted model has no input {name!r}: the converter removed it as unused"
        for name in properties.unused_inputs
    ]
    return [*notes, *reference.warnings, *properties.warnings]


def disturbed(verified: Verified, what: str) -> Verified:
    """Return the result for files that changed meanwhile."""
    message = f"{what} was modified during the run (by another program, a converter or the model itself)"
    return replace(verified, failure=Failure(state=State.FAILED, message=message, log_path=verified.log_path))


def _unstable(reference: Reference) -> str:
    return (
        f"the source model keeps a state: it returns other values for {', '.join(reference.unstable)} when the same "
        f"sample is run again; {reference.state_advice}"
    )
