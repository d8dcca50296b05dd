"""One unit of work each: run the source model, convert, verify.

Each function takes what it needs and returns an outcome; none raises for a step that fails. The order of units
is `navigator.engine.execute`'s.
"""

import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from navigator.cache.digests import artifact_digest, model_files, size_bytes, stamp
from navigator.converters.protocol import Conversion
from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.workspace import Workspace
from navigator.records import (
    Device,
    Gpu,
    Json,
    Latency,
    ModelConfig,
    OutputModel,
    SampleInfo,
    Seconds,
    Signature,
    State,
    Step,
    from_data,
    to_data,
)
from navigator.runners import RUNNERS
from navigator.runners.protocol import read_by
from navigator.samples import storage as arrays
from navigator.samples.shapes import profile_of
from navigator.verify import polygraphy_json as dumps
from navigator.verify.compare import verify
from navigator.verify.tolerances import rounding_limit, tolerances
from navigator.workers.local.pool import Outcome, Task, TaskResult, Workers

# Base64 text of 64 MiB of arrays is about 90 MB a file: enough to look into a mismatch, small enough to upload.
DUMP_LIMIT_BYTES = 64 * 2**20

_STATES = {
    Outcome.FAILED: State.FAILED,
    Outcome.CRASHED: State.CRASHED,
    Outcome.TIMED_OUT: State.TIMED_OUT,
    Outcome.CANCELLED: State.CANCELLED,
}


_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def _failing_on_full_disk(unit: Callable[_Given, _Made]) -> Callable[_Given, _Made | Failure]:
    """Let a workspace that cannot be written fail one unit, so that the report of the others is still made."""

    @functools.wraps(unit)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made | Failure:
        try:
            return unit(*args, **kwargs)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return Failure(
                state=State.FAILED,
                message=f"the workspace cannot be used: {where}{error.strerror or error}",
                remedy="free space or correct the permissions, then run again",
            )

    return run


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where a unit's worker runs, where its files go, and what it may use.

    `workers` are in this interpreter, or in containers of `image`; `gpu` is the one that the unit has for itself, None
    where it needs none. `timing_cache` is the directory for what TensorRT measured.
    """

    workers: Workers
    workspace: Workspace
    timeout_seconds: float
    memory_bytes: int
    timing_cache: Path
    verbose: bool
    image: str | None = None
    gpu: Gpu | None = None


@_failing_on_full_disk
def run_reference(model: ModelConfig, *, site: Site) -> Reference | Failure:
    """Run the source model on its samples."""
    name = model.model_name
    samples, outputs = (site.workspace.scratch(name, "source", what) for what in ("samples", "outputs"))
    arguments = {
        "config": to_data(model),
        "memory_bytes": site.memory_bytes // 2,
        "samples": str(samples),
        "outputs": str(outputs),
    }
    reads = (*model_files(model.model_path), *model.samples)
    task = _task("reference", arguments, name, "source", site=site, reads=reads, writes=(samples, outputs))
    result = site.workers.run(task)
    if result.outcome is not Outcome.FINISHED or result.value is None:
        return _failure(result, task)
    written = stamp(samples, outputs)
    found = _outputs(outputs)
    if isinstance(found, str):
        return Failure(state=State.FAILED, message=found, log_path=task.log_path)
    signature = from_data(Signature, result.value["signature"])
    infos = from_data(tuple[SampleInfo, ...], result.value["samples"])
    return Reference(
        signature=signature,
        samples=samples,
        outputs=outputs,
        infos=infos,
        written=written,
        shapes=profile_of(signature.inputs, model, infos),
        unstable=tuple(result.value["unstable"]),
        notes=tuple(result.value["notes"]),
    )


@_failing_on_full_disk
def run_convert(
    model: ModelConfig,
    step: Step,
    *,
    source: Path,
    reference: Reference | None,
    raise_from: Path | None,
    site: Site,
) -> Artifact | Failure:
    """Run one converter and move what it made to its place."""
    name = model.model_name
    final = site.workspace.artifact(name, step.label, step.target_format)
    site.workspace.forget(name, step.label)
    made = site.workspace.scratch(name, step.label, "artifact") / final.name
    made.parent.mkdir()
    timing = site.timing_cache if site.gpu else None
    if timing is not None:
        timing.mkdir(parents=True, exist_ok=True)
    conversion = Conversion(
        source=source,
        destination=made,
        options=step.options,
        signature=reference.signature if reference else None,
        samples=reference.samples if reference else None,
        raise_from=raise_from,
        shapes=reference.shapes if reference else None,
        timing_cache=timing,
        gpu=site.gpu,
        verbose=site.verbose,
    )
    arguments = {"converter": step.converter, "conversion": to_data(conversion)}
    reads = (
        *(model_files(source) if step.parent is None else (source.parent,)),
        *((reference.samples,) if reference else ()),
        *((raise_from.parent,) if raise_from else ()),
        *step.options.files,
        *((timing,) if timing else ()),
    )
    writes = (made.parent, *((timing,) if timing else ()))
    task = _task("convert", arguments, name, step.label, site=site, reads=reads, writes=writes)
    result = site.workers.run(task)
    if result.outcome is not Outcome.FINISHED or result.value is None:
        return _failure(result, task)
    if not made.exists() or size_bytes(made) == 0:
        return Failure(
            state=State.FAILED,
            message=f"{step.converter} ended well but left no {final.name}",
            log_path=task.log_path,
        )
    if final.parent.exists():
        return Failure(
            state=State.FAILED,
            message=f"{final.parent}, which an earlier run made, cannot be removed",
            remedy="remove it, or choose another directory with --workspace-path",
        )
    final.parent.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made.parent, final.parent)
    return Artifact(
        path=final,
        properties=result.value,
        seconds=result.seconds,
        peak_memory_bytes=result.peak_memory_bytes,
    )


@_failing_on_full_disk
def run_verify(
    model: ModelConfig,
    step: Step,
    artifact: Artifact,
    reference: Reference,
    device: Device,
    *,
    site: Site,
) -> Verified:
    """Run an artifact on the samples on one device and compare its outputs with the source model's."""
    name = model.model_name
    outputs = site.workspace.scratch(name, step.label, f"outputs-{device}")
    arguments = {
        "format": step.target_format,
        "path": str(artifact.path),
        "declared": to_data(reference.signature),
        "signature_name": model.signature_name,
        "device": device,
        "options": to_data(read_by(RUNNERS[step.target_format], step.options)),
        "samples": str(reference.samples),
        "outputs": str(outputs),
    }
    reads = (artifact.path.parent, reference.samples, *step.options.files)
    unit = "verify" if device is Device.CPU else f"verify-{device}"
    # TF32 is an engine's own matter. A traced TorchScript module has it written into its convolutions: only the
    # libraries' own switch goes before that.
    tf32 = Device.CPU not in step.devices
    task = _task("infer", arguments, name, step.label, unit=unit, site=site, reads=reads, writes=(outputs,), tf32=tf32)
    before = stamp(artifact.path.parent)
    result = site.workers.run(task)
    value = result.value or {}
    output_model = OutputModel(
        name=f"{name}.{step.label}",
        path=artifact.path,
        format=step.target_format,
        size_bytes=size_bytes(artifact.path.parent),
        sha256=artifact_digest(artifact.path.parent),
        signature=from_data(Signature, value["signature"]) if "signature" in value else None,
        properties={**artifact.properties, **value.get("properties", {})},
    )
    verified = Verified(
        output_model=output_model,
        expected_outputs=tuple(spec.name for spec in reference.signature.outputs),
        infos=reference.infos,
        latencies=from_data(tuple[Latency, ...], value.get("latencies", ())),
        seconds=Seconds(convert=artifact.seconds, verify=result.seconds),
        peak_memory_bytes=max(artifact.peak_memory_bytes, result.peak_memory_bytes),
        log_path=task.log_path,
    )
    if result.outcome is not Outcome.FINISHED:
        failure = _failure(result, task)
        where = "" if device is Device.CPU else " on the GPU"
        message = f"converted, but cannot be run{where}: {failure.message}"
        return replace(verified, failure=replace(failure, message=message))
    judged = _judged(verified, model, step, reference, outputs, device, site=site)
    # Last: what was compared is what these held before and after.
    if stamp(artifact.path.parent) != before:
        return _disturbed(verified, "the artifact")
    if stamp(reference.samples, reference.outputs) != reference.written:
        return _disturbed(verified, "the reference")
    return judged


@_failing_on_full_disk
def unverified(model: ModelConfig, step: Step, artifact: Artifact, reference: Reference) -> Verified:
    """Return what is known of an artifact that nothing here can run."""
    directory = artifact.path.parent
    targets = ", ".join(artifact.properties.get("compute_capabilities", ()))
    built_for = f"built for compute capability {targets}" if targets else "built"
    return Verified(
        output_model=OutputModel(
            name=f"{model.model_name}.{step.label}",
            path=artifact.path,
            format=step.target_format,
            size_bytes=size_bytes(directory),
            sha256=artifact_digest(directory),
            properties=artifact.properties,
        ),
        expected_outputs=tuple(spec.name for spec in reference.signature.outputs),
        infos=reference.infos,
        failure=Failure(
            state=State.UNVERIFIED,
            message=f"{built_for}, not executed here: {step.unrunnable}",
            remedy="verify it on a machine that can run it",
        ),
        seconds=Seconds(convert=artifact.seconds),
        peak_memory_bytes=artifact.peak_memory_bytes,
        cached=artifact.cached,
    )


def _disturbed(verified: Verified, what: str) -> Verified:
    message = f"{what} was changed while it was in use: some program, converter or model wrote into it"
    return replace(verified, failure=Failure(state=State.FAILED, message=message, log_path=verified.log_path))


def _judged(
    verified: Verified,
    model: ModelConfig,
    step: Step,
    reference: Reference,
    outputs: Path,
    device: Device,
    *,
    site: Site,
) -> Verified:
    """Compare what an artifact put out with the reference; keep both where somebody may want to look at them."""
    expected, actual = _outputs(reference.outputs), _outputs(outputs)
    if isinstance(expected, str) or isinstance(actual, str):
        message = f"converted, but {actual if isinstance(actual, str) else expected}"
        return replace(verified, failure=Failure(state=State.FAILED, message=message, log_path=verified.log_path))
    allowed = tolerances(model, step.precision, expected)
    verdict = verify(
        expected, actual, atol=allowed.atol, rtol=allowed.rtol, rounding_limit=rounding_limit(step.precision)
    )
    properties = verified.output_model.properties
    notes = [_unstable(reference.unstable)] if reference.unstable else []
    notes += [
        f"the artifact takes no input {name!r}: the converter left it out as unused"
        for name in properties.get("unused_inputs", ())
    ]
    notes += properties.get("warnings", ())
    comparisons = tuple(replace(each, device=device) for each in verdict.comparisons)
    verdict = replace(verdict, comparisons=comparisons, warnings=(*verdict.warnings, *notes))
    if site.verbose or not verdict.passed:
        runs = {f"{model.model_format}-runner": expected, f"{step.target_format}-converted-{device}-runner": actual}
        try:
            dumps.write(
                site.workspace.dump(model.model_name, step.label),
                arrays.load(reference.samples, mapped=True),
                runs,
                limit_bytes=DUMP_LIMIT_BYTES,
            )
        except OSError as error:
            # The verdict is known and says more than a full disk does.
            note = f"the inputs and outputs of this verification could not be kept: {error.strerror}"
            verdict = replace(verdict, warnings=(*verdict.warnings, note))
    return replace(verified, verdict=verdict)


def _task(
    what: str,
    arguments: Mapping[str, Json],
    model: str,
    label: str,
    *,
    unit: str = "",
    site: Site,
    reads: tuple[Path, ...],
    writes: tuple[Path, ...],
    tf32: bool = True,
) -> Task:
    """Return the worker's task; its log is named after the unit of work where that has another name."""
    # A container has that one GPU and no other; here all others are hidden, and all where the unit has none.
    variables = {} if site.image else {"CUDA_VISIBLE_DEVICES": site.gpu.uuid if site.gpu else ""}
    if not tf32:
        variables["NVIDIA_TF32_OVERRIDE"] = "0"
    return Task(
        name=what,
        arguments=arguments,
        directory=site.workspace.scratch(model, label, unit or what),
        log_path=site.workspace.log(model, label, unit or what),
        timeout_seconds=site.timeout_seconds,
        memory_limit_bytes=site.memory_bytes,
        variables=variables,
        reads=reads,
        writes=writes,
        gpu=site.gpu.uuid if site.gpu else "",
    )


def _failure(result: TaskResult, task: Task) -> Failure:
    return Failure(
        state=_STATES.get(result.outcome, State.CRASHED),
        message=result.message,
        remedy=result.remedy,
        log_path=task.log_path,
    )


def _outputs(directory: Path) -> list[tuple[str, dict[str, np.ndarray]]] | str:
    """Return the outputs that a worker left, as mapped files, or why they cannot be read: it ran somebody's model."""
    try:
        return arrays.load(directory, mapped=True)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        return f"its outputs cannot be read: {error}"


def _unstable(outputs: tuple[str, ...]) -> str:
    return (
        f"the source model itself gives different values for {', '.join(outputs)} when the same sample is run twice"
        " (dropout or sampling left active?): save it in inference mode"
    )
