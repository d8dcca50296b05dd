"""Describes a model: what its file says, and what its framework adds in a worker, since files may hold programs."""

import tempfile
from dataclasses import replace
from pathlib import Path

from navigator.errors import StepError
from navigator.frameworks.availability import missing
from navigator.host.describe import describe as describe_host
from navigator.models import structure
from navigator.models.files import model_files
from navigator.records import Description, Format, InvalidRecordError, from_data, to_data
from navigator.runners import RUNNERS
from navigator.runners.inspection import preload
from navigator.workers.local.pool import ForkServer
from navigator.workers.task import Task, TaskStatus

_VALUES = "the values that its inputs may have"


def describe(
    path: Path, model_format: Format, signature_name: str | None, *, timeout_seconds: float, memory_bytes: int
) -> Description:
    """Return what is known of the model at `path` without running it.

    Args:
        path: the file, or the directory of a SavedModel.
        model_format: its format.
        signature_name: the signature of a SavedModel, None: its default.
        timeout_seconds: of the worker that loads the file, beside the import of its framework.
        memory_bytes: what the worker may use.

    Raises:
        ConfigurationError: a SavedModel has no such signature.
        StepError: only its framework can read the file, and it can't, or isn't here.
        OSError: a file can't be read.
    """
    said = structure.with_size(structure.read(path, model_format, signature_name), path)
    source = RUNNERS[model_format].AS_SOURCE
    if source is None:
        return said
    distributions = ("onnx",) if model_format is Format.ONNX else RUNNERS[model_format].DISTRIBUTIONS
    absent = missing(distributions, source.extra, describe_host(docker=False))
    if absent is not None:
        return _without(said, absent.reason, absent.remedy)
    with tempfile.TemporaryDirectory(prefix="navigator-") as scratch:
        place = Path(scratch).resolve()
        task = Task(
            name="describe",
            arguments={"description": to_data(said), "path": str(path)},
            directory=place / "task",
            log_path=place / "log",
            timeout_seconds=timeout_seconds,
            memory_limit_bytes=memory_bytes,
            reads=model_files(path),
        )
        with ForkServer(preload=preload(model_format), directory=place / "server") as server:
            result = server.run(task)
    if result.status is not TaskStatus.FINISHED:
        # The log is gone with its directory.
        return _without(said, result.message, result.remedy.replace(f"see {task.log_path}", "").strip(" ;,"))
    try:
        answered = from_data(Description, result.value)
    except InvalidRecordError as error:
        raise StepError(f"{path} left a damaged answer in its worker: {error}") from error
    return answered if said.inputs is None else replace(said, outputs=answered.outputs, values=answered.values)


def _without(said: Description, reason: str, remedy: str) -> Description:
    """Return what is known without the framework, if that is anything."""
    if said.inputs is None and not said.operators:
        raise StepError(reason, remedy)
    hint = f"; {remedy}" if remedy else ""
    return replace(said, unknown=(*said.unknown, f"{_VALUES}: {reason}{hint}"))
