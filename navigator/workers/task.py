"""A task, what is known about its end, and the status and sentence that follow from it.

Owns the sentences that users read about workers. Starts and kills nothing; reads only the task's result file and log.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from navigator import disks
from navigator.errors import NavigatorError
from navigator.frameworks.gpu import out_of_gpu_memory, says_out_of_memory
from navigator.plain_data import PlainDataError, parse_json
from navigator.records import Json
from navigator.safe_files import open_file
from navigator.workers.child import CANNOT_WRITE_RESULT, RESULT
from navigator.workers.ending import describe_status, last_line

# Results are names, shapes and paths; arrays travel in files of their own.
_RESULT_LIMIT_BYTES = 64 * 2**20

_MORE_MEMORY = "reduce max_shapes or jobs, increase memory_limit_bytes, or use a machine with more memory"


class TaskStatus(StrEnum):
    """How a task ended. Only `finished` has a value."""

    FINISHED = "finished"
    """It left a complete result file."""
    FAILED = "failed"
    """It, or what it needs, said that it cannot."""
    FULL_DISK = "full_disk"
    """It failed since a disk is full, whatever else it says."""
    NOT_APPLICABLE = "not_applicable"
    """It said that it has nothing to do."""
    CRASHED = "crashed"
    """It died, or ended without a result."""
    TIMED_OUT = "timed_out"
    """It was killed at its deadline."""
    CANCELLED = "cancelled"
    """It was killed, or never started, because the run was cancelled."""


class ExitReason(StrEnum):
    """Why a task ended, as the fork server or its parent knows it."""

    EXITED = "exited"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    SERVER_FAILED = "server_failed"
    SERVER_CRASHED = "server_crashed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lasting:
    """A worker that isn't over with its task, since what it has loaded takes long: the next such task gets it.

    It ends when a task in it fails. One that runs in a container is over with its task.

    Args:
        name: tasks with the same name share a worker, one after another.
        directory: scratch directory of the worker; those of its tasks are below it.
        reads: what any of its tasks reads, and the directories that any of them writes, beside `directory`.
        writes: see `reads`.
    """

    name: str
    directory: Path
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One call of a function in a forked child.

    Args:
        name: key of the table of tasks.
        arguments: what the function is given.
        directory: scratch directory of this task alone, made by the pool; holds `request.json` and `result.json`,
            and is the working directory.
        log_path: what the task and its libraries print is appended here.
        timeout_seconds: counted from the fork, not from when the task was asked for.
        memory_limit_bytes: for the child and its descendants together; memory that they share with the server
            counts by their share only.
        variables: set in the child's environment before the function is called, e.g. CUDA_VISIBLE_DEVICES.
        reads: files and directories that the function reads, and those that it writes (`directory` and the log go
            without saying): all that a worker may open beside libraries, what one that doesn't share our disks is sent,
            and what's fetched from it.
        writes: see `reads`. What the function did not make is left out. Where one isn't there yet, a worker may write
            into the directory that it's to be in.
        gpu: UUID of the GPU that the task may use, or "".
        lasting: the worker that the task shares with others, or None.
    """

    name: str
    arguments: Mapping[str, Json]
    directory: Path
    log_path: Path
    timeout_seconds: float
    memory_limit_bytes: int
    variables: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    gpu: str = ""
    lasting: Lasting | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """What became of a task.

    Args:
        status: `value` is None unless it is `finished`, `message` is "" only if it is.
        value: what the function returned.
        message: one sentence: what happened.
        remedy: what to do next, or "".
        seconds: from the fork until the child and everything that it started were gone.
        peak_memory_bytes: the most that the child's processes held, with what they had from the server, as if each
            had imported the frameworks itself.
    """

    status: TaskStatus
    value: Json | None = None
    message: str = ""
    remedy: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How a task's process ended. `status` is its exit code, or minus the signal's number."""

    reason: ExitReason
    detail: str = ""
    remedy: str = ""
    status: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    used_bytes: int = 0


def failed(error: NavigatorError) -> TaskResult:
    """Return the result of a task that nothing ran, for this reason."""
    return TaskResult(status=TaskStatus.FAILED, message=error.message, remedy=error.hint)


def judge(task: Task, ended: Exit, *, log_start: int) -> TaskResult:
    """Return what became of `task`.

    A child that we killed is judged by why we did. Any other is judged by its result file alone: with one it has
    finished, whatever happened on its way out; without one it has crashed, whatever its exit code.

    Args:
        task: the task.
        ended: how its process ended.
        log_start: size of the log in bytes before the task, which appended to it.
    """
    if ended.reason is not ExitReason.EXITED:
        status, message, remedy = _killed(task, ended)
        value = None
    else:
        status, value, message, remedy = _read_result(task, ended, log_start)
    return TaskResult(
        status=status,
        value=value,
        message=message,
        remedy=remedy,
        seconds=ended.seconds,
        peak_memory_bytes=ended.peak_bytes,
    )


def _killed(task: Task, ended: Exit) -> tuple[TaskStatus, str, str]:
    match ended.reason:
        case ExitReason.TIMED_OUT:
            return TaskStatus.TIMED_OUT, f"stopped after {task.timeout_seconds:g} s", "increase timeout_seconds"
        case ExitReason.OUT_OF_MEMORY:
            used, allowed = gibibytes(ended.used_bytes), gibibytes(task.memory_limit_bytes)
            return (
                TaskStatus.CRASHED,
                f"out of memory: used {used} of {allowed} allowed",
                _MORE_MEMORY,
            )
        case ExitReason.CANCELLED:
            return TaskStatus.CANCELLED, "cancelled", ""
        case ExitReason.NOT_STARTED:
            return (
                TaskStatus.FAILED,
                f"can't start a process: {ended.detail}",
                "free up memory or process IDs, then run again",
            )
        case ExitReason.SERVER_FAILED:
            return TaskStatus.FAILED, ended.detail, f"{ended.remedy}; {_see(task)}"
        case _:
            return TaskStatus.CRASHED, ended.detail, f"{_see(task)}, then run again"


def _read_result(task: Task, ended: Exit, log_start: int) -> tuple[TaskStatus, Json | None, str, str]:
    path = task.directory / RESULT
    try:
        with open_file(path, task.directory.parent) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _RESULT_LIMIT_BYTES:
                return (
                    TaskStatus.CRASHED,
                    None,
                    f"left a result of {gibibytes(size)}, more than a task ever writes",
                    _see(task),
                )
            result = parse_json(file.read(size))
        if result["ok"] is True:
            return TaskStatus.FINISHED, result["value"], "", ""
        return _told(task, result)
    except FileNotFoundError:
        message = _died(task, ended)
    except OSError as error:
        message = f"can't read its result: {error.strerror}"
    except (PlainDataError, KeyError, TypeError):
        message = f"left a damaged result ({describe_status(ended.status)})"
    last = last_line(task.log_path, log_start)
    if disks.says_full_disk(last) or disks.is_full(task.directory):
        return _on_full_disk(task, message)
    if task.gpu and says_out_of_memory(last):
        full = out_of_gpu_memory(f"{message}: it")
        return TaskStatus.FAILED, None, full.message, full.hint
    remedy = f"{_MORE_MEMORY}; {_see(task)}" if ended.status == -signal.SIGKILL else _see(task)
    return TaskStatus.CRASHED, None, f"{message}; last output: {last}" if last else message, remedy


def _told(task: Task, result: Json) -> tuple[TaskStatus, None, str, str]:
    """Return what a task says that it failed of; KeyError or TypeError if it doesn't."""
    message, hint = str(result["message"]), str(result["hint"])
    if result.get("full_disk") is True:
        return TaskStatus.FULL_DISK, None, message, hint
    if result.get("not_applicable") is True:
        return TaskStatus.NOT_APPLICABLE, None, message, hint
    # Libraries that don't look at what became of their writing blame the model.
    return _on_full_disk(task, message) if disks.is_full(task.directory) else (TaskStatus.FAILED, None, message, hint)


def _died(task: Task, ended: Exit) -> str:
    """Say how a child ended that left no result."""
    if ended.status == -signal.SIGKILL:
        peak = f" (peak {gibibytes(ended.peak_bytes)})" if ended.peak_bytes else ""
        return f"{describe_status(ended.status)}{peak}"
    if ended.status == CANNOT_WRITE_RESULT:
        return f"couldn't write its result to {task.directory}"
    if ended.status < 0:
        return describe_status(ended.status)
    return f"{describe_status(ended.status)} without a result"


def _on_full_disk(task: Task, message: str) -> tuple[TaskStatus, None, str, str]:
    return TaskStatus.FULL_DISK, None, f"{disks.full_disk(task.directory)}; {message}", disks.REMEDY


def _see(task: Task) -> str:
    return f"see {task.log_path}"


def gibibytes(count: int) -> str:
    """Return a number of bytes in GiB."""
    return f"{count / 2**30:.2f} GiB"
