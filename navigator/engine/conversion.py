"""The unit of work that runs a converter: prepares its input, runs it in a worker, and checks its output."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from navigator.cache.digests import size_bytes
from navigator.converters.protocol import Conversion
from navigator.engine.outcomes import Artifact, Failure, Reference
from navigator.engine.step_context import StepContext, answer_of, failing_alone, failure_of
from navigator.engine.workspace import artifact_name
from navigator.errors import quote
from navigator.models.files import files_of, model_files
from navigator.records import ModelConfig, Precision, Properties, State, Step, StepOptions, to_data
from navigator.safe_files import tree_bytes
from navigator.samples.found import with_found
from navigator.workers.task import Task, TaskResult, TaskStatus


@failing_alone
def run_convert(
    model: ModelConfig,
    step: Step,
    *,
    source: Path,
    reference: Reference | None,
    raise_from: Path | None,
    calibrates: bool,
    context: StepContext,
) -> Artifact | Failure:
    """Run a converter and move its output into place; a failure is returned, not raised.

    One that `calibrates` gets the samples for that, which its model isn't compared on.
    """
    name = model.model_name
    context.workspace.remove_stale(name, step.label)
    conversion = _prepared(model, step, source, reference, raise_from, context, calibrates=calibrates)
    task = _task(model, step, conversion, context)
    result = context.workers.run(task)
    final = context.workspace.artifact(name, step)
    # A converter holds its model in memory, but for weights that are copied from file to file.
    limit = context.memory_bytes + sum(size_bytes(path) for path in _source_files(step, conversion))
    made = _judged(step, conversion.destination, final, result, task, limit)
    if context.lasting is not None:  # nobody else removes what it leaves
        shutil.rmtree(task.directory.parent, ignore_errors=True)
    if isinstance(made, Artifact):
        # Now, since the source model may still be running, and nobody has to compare the weights in copies.
        for _, path in files_of(final.parent):
            context.remembered.copied(path, context.watch())
    return made


def _prepared(
    model: ModelConfig,
    step: Step,
    source: Path,
    reference: Reference | None,
    raise_from: Path | None,
    context: StepContext,
    *,
    calibrates: bool,
) -> Conversion[StepOptions]:
    """Return the input of the converter; its directories exist."""
    name = model.model_name
    made = context.scratch(name, step.label, "artifact") / artifact_name(step)
    made.parent.mkdir()
    # A container's files are here at its end only.
    progress = None if context.image else context.workspace.progress(name, step.label)
    if progress is not None:
        progress.parent.mkdir(parents=True, exist_ok=True)
        progress.write_text("")
    timing = context.timing_cache if context.gpu else None
    if timing is not None:
        timing.mkdir(parents=True, exist_ok=True)
    return Conversion(
        source=source,
        destination=made,
        options=step.options,
        signature=reference.signature if reference else None,
        arguments=with_found(model, reference.found).arguments if reference else {},
        samples=_samples(reference, name, step, context, calibrates=calibrates) if reference else None,
        raise_from=raise_from,
        shapes=reference.shapes if reference else None,
        timing_cache=timing,
        gpu=context.gpu,
        verbose=context.verbose,
        progress=progress,
    )


def _samples(reference: Reference, model: str, step: Step, context: StepContext, *, calibrates: bool) -> Path:
    """Return where the worker can read the samples: one that lasts can't open what was made after it began."""
    samples = reference.calibration if calibrates else reference.samples
    if context.lasting is None:
        return samples
    return Path(shutil.copytree(samples, context.scratch(model, step.label, "samples")))


def _task(model: ModelConfig, step: Step, conversion: Conversion[StepOptions], context: StepContext) -> Task:
    timing = (conversion.timing_cache,) if conversion.timing_cache else ()
    reads = (
        *_source_files(step, conversion),
        *((conversion.samples,) if conversion.samples else ()),
        *((conversion.raise_from.parent,) if conversion.raise_from else ()),
        *step.options.files,
        *timing,
    )
    arguments = {"converter": step.converter, "conversion": to_data(conversion)}
    progress = (conversion.progress,) if conversion.progress else ()
    writes = (conversion.destination.parent, *progress, *timing)
    return context.task("convert", arguments, model.model_name, step.label, reads=reads, writes=writes)


def _source_files(step: Step, conversion: Conversion[StepOptions]) -> tuple[Path, ...]:
    return model_files(conversion.source) if step.parent is None else (conversion.source.parent,)


def _judged(
    step: Step, made: Path, final: Path, result: TaskResult, task: Task, limit_bytes: int
) -> Artifact | Failure:
    """Return the artifact, moved to `final`, after checking that the worker wrote it, and nothing but files."""
    if result.status is TaskStatus.NOT_APPLICABLE and step.precision is not Precision.FP32:
        return replace(failure_of(result, task), state=State.NOT_APPLICABLE)
    properties = answer_of(Properties, result, task)
    if isinstance(properties, Failure):
        return properties
    try:
        tree_bytes(made.parent, limit_bytes, made.parent.parent)
    except OSError as error:
        left = quote(os.path.relpath(error.filename or made.parent, made.parent))
        message = f"{step.converter} left {left}: {error.strerror}"
        return Failure(state=State.FAILED, message=message, log_path=task.log_path)
    if not made.exists() or size_bytes(made) == 0:
        return Failure(
            state=State.FAILED,
            message=f"{step.converter} succeeded but produced no {final.name}",
            log_path=task.log_path,
        )
    if final.parent.exists():
        return Failure(
            state=State.FAILED,
            message=f"can't remove {final.parent}, which an earlier run made",
            remedy="remove it, or choose another directory with --workspace-path",
        )
    final.parent.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made.parent, final.parent)
    return Artifact(
        path=final,
        properties=properties,
        seconds=result.seconds,
        peak_memory_bytes=result.peak_memory_bytes,
    )
