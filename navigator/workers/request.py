"""What every environment does with a task before it runs: its directory, request and log."""

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

from navigator import disks
from navigator.errors import ExitCode, NavigatorError, remedy
from navigator.frameworks.memory import LIMIT_VARIABLE
from navigator.workers.child import REQUEST, RESULT
from navigator.workers.ending import log_tail
from navigator.workers.task import Lasting, Task


class RequestError(NavigatorError):
    """A task can't be asked for. It fails the task, never the run."""

    exit_code = ExitCode.FAILURE


def prepare(task: Task) -> tuple[Task, int]:
    """Make a task's directory and request; return the task with absolute paths, and the size of its log in bytes.

    Raises:
        RequestError: the workspace isn't writable, or the arguments aren't JSON.
    """
    # Servers, children and containers have working directories of their own.
    task = replace(
        task,
        directory=task.directory.absolute(),
        log_path=task.log_path.absolute(),
        reads=tuple(path.absolute() for path in task.reads),
        writes=tuple(path.absolute() for path in task.writes),
        lasting=_absolute(task.lasting),
    )
    try:
        return task, _write(task)
    except OSError as error:
        message = f"can't write {error.filename or task.directory}: {disks.reason(error, task.directory)}"
        raise RequestError(message, remedy(error) or "use a writable workspace") from error
    except (TypeError, ValueError) as error:
        message = f"the arguments of task {task.name} aren't JSON: {error}"
        raise RequestError(message, "internal error (please report it)") from error


def _absolute(lasting: Lasting | None) -> Lasting | None:
    return lasting and replace(
        lasting,
        directory=lasting.directory.absolute(),
        reads=tuple(path.absolute() for path in lasting.reads),
        writes=tuple(path.absolute() for path in lasting.writes),
    )


def _write(task: Task) -> int:
    variables = {LIMIT_VARIABLE: str(task.memory_limit_bytes), **task.variables}
    worker = task.lasting or task
    request = json.dumps(
        {
            "name": task.name,
            "arguments": dict(task.arguments),
            "variables": variables,
            "home": str(worker.directory),
            "reads": [str(path) for path in worker.reads],
            "writes": [str(path) for path in worker.writes],
            "gpu": bool(task.gpu),
        }
    )
    task.directory.mkdir(parents=True, exist_ok=True)
    # An earlier task's result must never be taken for this one's.
    (task.directory / RESULT).unlink(missing_ok=True)
    (task.directory / REQUEST).write_text(request)
    task.log_path.parent.mkdir(parents=True, exist_ok=True)
    with task.log_path.open("ab") as log:
        return log.seek(0, os.SEEK_END)


def quote_log(task: Task, reason: object, log_path: Path) -> None:
    """Show in the task's own log why nothing ran it. The result's message says the same in one line."""
    with contextlib.suppress(OSError), task.log_path.open("a") as log:
        print(reason, f"The end of {log_path}:", *log_tail(log_path, 0), sep="\n", file=log)
