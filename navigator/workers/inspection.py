"""Describes a model: what its file says, and what its framework adds in a worker, since files may hold programs.

Runs the model only where that is asked for.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from navigator.errors import StepError
from navigator.frameworks import opsets
from navigator.frameworks.availability import missing
from navigator.host.describe import describe as describe_host
from navigator.models import structure
from navigator.models.files import model_files
from navigator.records import (
    Description,
    Format,
    FoundShapes,
    InvalidRecordError,
    Json,
    ModelConfig,
    from_data,
    to_data,
)
from navigator.runners import RUNNERS
from navigator.runners.inspection import preload
from navigator.workers.local.pool import ForkServer
from navigator.workers.task import Task, TaskResult, TaskStatus

_VALUES = "the values that its inputs may have"


def describe(
    path: Path, model_format: Format, signature_name: str | None, *, timeout_seconds: float, memory_bytes: int
) -> Description:
    """Return what is known of the model at `path` without running it, and the opset that it's exported at.

    Args:
        path: the file, or the directory of a SavedModel.
        model_format: its format.
        signature_name: the signature of a SavedModel, None: its default.
        timeout_seconds: of the worker that loads the file, besides the import of its framework.
        memory_bytes: what the worker may use.

    Raises:
        ConfigurationError: a SavedModel has no such signature.
        StepError: only its framework can read the file, and it can't, or isn't here.
        OSError: a file can't be read.
    """
    said = structure.with_size(structure.read(path, model_format, signature_name), path)
    described = _described(said, path, timeout_seconds, memory_bytes)
    # By what the plan reads, too.
    needed = opsets.raised(model_format, said.operators)
    return described if needed is None else replace(described, notes=(*described.notes, str(needed)))


def _described(said: Description, path: Path, timeout_seconds: float, memory_bytes: int) -> Description:
    """Return what the framework adds to what the file of a model says."""
    model_format = said.model_format
    source = RUNNERS[model_format].AS_SOURCE
    if source is None:
        return said
    distributions = ("onnx",) if model_format is Format.ONNX else RUNNERS[model_format].DISTRIBUTIONS
    absent = missing(distributions, source.extra, describe_host(docker=False))
    if absent is not None:
        return _without(said, absent.reason, absent.remedy)
    arguments = {"description": to_data(said), "path": str(path)}
    result = _run("describe", arguments, path, preload(model_format), timeout_seconds, memory_bytes)
    if result.status is not TaskStatus.FINISHED:
        return _without(said, result.message, result.remedy)
    try:
        answered = from_data(Description, result.value)
    except InvalidRecordError as error:
        raise StepError(f"{path} left a damaged answer in its worker: {error}") from error
    if said.inputs is None:
        return answered
    return replace(
        said,
        outputs=answered.outputs,
        values=answered.values,
        notes=answered.notes,
        custom_operators=answered.custom_operators,
        unknown=answered.unknown,
    )


def found(model: ModelConfig, *, timeout_seconds: float, memory_bytes: int) -> FoundShapes | None:
    """Return what running a model shows of its inputs, None if its file says it all.

    Raises:
        StepError: it doesn't run in any shape that was tried, or can't be run here.
        OSError: a file can't be read.
    """
    assert model.model_format is not None
    runner = RUNNERS[model.model_format]
    if runner.AS_SOURCE is None:
        return None
    absent = missing(runner.DISTRIBUTIONS, runner.AS_SOURCE.extra, describe_host(docker=False))
    if absent is not None:
        raise StepError(absent.reason, absent.remedy)
    arguments = {"config": to_data(model)}
    result = _run("probe", arguments, model.model_path, runner.PRELOAD, timeout_seconds, memory_bytes)
    if result.status is not TaskStatus.FINISHED:
        raise StepError(result.message, result.remedy)
    try:
        return None if result.value is None else from_data(FoundShapes, result.value)
    except InvalidRecordError as error:
        raise StepError(f"{model.model_path} left a damaged answer in its worker: {error}") from error


def _run(
    name: str,
    arguments: Mapping[str, Json],
    path: Path,
    modules: tuple[str, ...],
    timeout_seconds: float,
    memory_bytes: int,
) -> TaskResult:
    """Run one task on a model in a worker of its own."""
    with tempfile.TemporaryDirectory(prefix="navigator-") as scratch:
        place = Path(scratch).resolve()
        task = Task(
            name=name,
            arguments=arguments,
            directory=place / "task",
            log_path=place / "log",
            timeout_seconds=timeout_seconds,
            memory_limit_bytes=memory_bytes,
            # No GPU: the CPU shows it too, and may be all that there is.
            variables={"CUDA_VISIBLE_DEVICES": ""},
            reads=model_files(path),
        )
        with ForkServer(preload=modules, directory=place / "server") as server:
            result = server.run(task)
    # The log is gone with its directory.
    return replace(result, remedy=result.remedy.replace(f"see {task.log_path}", "").strip(" ;,"))


def _without(said: Description, reason: str, remedy: str) -> Description:
    """Return what is known without the framework, if that is anything."""
    if said.inputs is None and not said.operators:
        raise StepError(reason, remedy)
    hint = f"; {remedy}" if remedy else ""
    return replace(said, unknown=(*said.unknown, f"{_VALUES}: {reason}{hint}"))
