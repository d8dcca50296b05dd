"""Shared by all units of work: where the worker runs, its task, and its failure."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from navigator import disks
from navigator.cache.remembered import Remembered
from navigator.engine.outcomes import Failure
from navigator.engine.workspace import Workspace
from navigator.errors import NavigatorError, exhausted, remedy
from navigator.models.reading import DeadlineError, StoppedError, Watch
from navigator.records import Gpu, InvalidRecordError, Json, State, from_data
from navigator.samples import storage
from navigator.workers.local.pool import Workers
from navigator.workers.task import Lasting, Task, TaskResult, TaskStatus

_STATES = {
    TaskStatus.FAILED: State.FAILED,
    TaskStatus.FULL_DISK: State.FAILED,
    TaskStatus.NOT_APPLICABLE: State.FAILED,
    TaskStatus.CRASHED: State.CRASHED,
    TaskStatus.TIMED_OUT: State.TIMED_OUT,
    TaskStatus.CANCELLED: State.CANCELLED,
}

_SEE_LOG = "see the log: the model or a library ended the worker or wrote its result"

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepContext:
    """Where a unit's worker runs, where its files go, and what it may use.

    `workers` are in this interpreter, or in containers of `image`; `gpu` is the one that the unit has for itself, None
    if it needs none; `lasting` is the worker that it shares with others, if it does. `timing_cache` is the directory
    for TensorRT's measurements, and `remembered` are digests that don't have to be taken again. `stopped` is whether
    the run was cancelled, and `on_progress` gets sentences.
    """

    workers: Workers
    workspace: Workspace
    timeout_seconds: float
    memory_bytes: int
    timing_cache: Path
    verbose: bool
    image: str | None = None
    gpu: Gpu | None = None
    lasting: Lasting | None = None
    remembered: Remembered = field(default_factory=Remembered)
    stopped: Callable[[], bool] = lambda: False
    on_progress: Callable[[str], None] = lambda _sentence: None

    def watch(self) -> Watch:
        """Return what watches over files that this process itself reads: the same limit as for a worker."""
        return Watch(self.timeout_seconds, is_cancelled=self.stopped, on_progress=self.on_progress)

    def task(
        self,
        name: str,
        arguments: Mapping[str, Json],
        model: str,
        label: str,
        *,
        reads: tuple[Path, ...],
        writes: tuple[Path, ...],
        unit: str = "",
        tf32: bool = True,
    ) -> Task:
        """Return a worker's task; its log is named after `unit` if given."""
        # A container has only that GPU. In this interpreter, all others are hidden, or all if the unit has none.
        variables = {} if self.image else {"CUDA_VISIBLE_DEVICES": self.gpu.uuid if self.gpu else ""}
        if not tf32:
            variables["NVIDIA_TF32_OVERRIDE"] = "0"
        return Task(
            name=name,
            arguments=arguments,
            directory=self.scratch(model, label, unit or name),
            log_path=self.workspace.log(model, label, unit or name),
            timeout_seconds=self.timeout_seconds,
            memory_limit_bytes=self.memory_bytes,
            variables=variables,
            reads=reads,
            writes=writes,
            gpu=self.gpu.uuid if self.gpu else "",
            lasting=self.lasting,
        )

    def scratch(self, model: str, label: str, kind: str) -> Path:
        """Return a path that no other step uses, where the worker may write; its parent exists."""
        return self.workspace.scratch(model, label, kind, self.lasting.directory if self.lasting else None)


def failing_alone(unit: Callable[_Given, _Made]) -> Callable[_Given, _Made | Failure]:
    """Let a file that can't be read or written fail one unit only, so that the others are still reported.

    `unit` has a `StepContext` as its keyword argument `context`.
    """

    @functools.wraps(unit)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made | Failure:
        try:
            return unit(*args, **kwargs)
        except (NavigatorError, OSError) as error:
            context = kwargs["context"]
            assert isinstance(context, StepContext)
            return failure_from(error, context.workspace.path)

    return run


def failure_from(error: NavigatorError | OSError, workspace: Path) -> Failure:
    """Return the failure for what kept this process from reading or writing files."""
    error = exhausted(error) or error
    if isinstance(error, NavigatorError):
        states = {DeadlineError: State.TIMED_OUT, StoppedError: State.CANCELLED}
        return Failure(state=states.get(type(error), State.FAILED), message=error.message, remedy=error.hint)
    full_disk = disks.is_about_full_disk(error)
    why = disks.reason(error, workspace)
    if not full_disk and error.filename and not Path(os.fsdecode(error.filename)).is_relative_to(workspace):
        message = f"{os.fsdecode(error.filename)} can't be read: {why}"
    else:
        where = f"{error.filename}: " if error.filename else ""
        message = f"can't write to the workspace: {where}{why}"
    return Failure(state=State.FAILED, message=message, remedy=remedy(error), full_disk=full_disk)


def failure_of(result: TaskResult, task: Task) -> Failure:
    """Return why a task failed."""
    return Failure(
        state=_STATES.get(result.status, State.CRASHED),
        message=result.message,
        remedy=result.remedy,
        log_path=task.log_path,
        full_disk=result.status is TaskStatus.FULL_DISK,
    )


def answer_of(kind: type[_Made], result: TaskResult, task: Task) -> _Made | Failure:
    """Return what a task answered, or why there is no answer: it failed, or the model wrote the answer itself."""
    if result.status is not TaskStatus.FINISHED:
        return failure_of(result, task)
    try:
        return from_data(kind, result.value)
    except InvalidRecordError as error:
        return damaged(task, str(error))


def damaged(task: Task, why: str) -> Failure:
    """Return the failure of a task whose result makes no sense."""
    message = f"left a damaged result: {why}"
    return Failure(state=State.CRASHED, message=message, remedy=_SEE_LOG, log_path=task.log_path)


def outputs_in(
    directory: Path, limit_bytes: int, *, text: bool = False
) -> list[tuple[str, dict[str, np.ndarray]]] | str:
    """Return the outputs of a worker as mapped files, or why they can't be read, since models are untrusted.

    `limit_bytes` is the memory that the worker had, which held them all, and `text` whether there may be inputs, too.
    """
    try:
        return storage.load(directory, mapped=True, limit_bytes=limit_bytes, text=text)
    except OSError as error:
        return f"its outputs can't be read: {error.strerror or error}"
    except ValueError as error:
        return f"its outputs can't be read: {error}"
