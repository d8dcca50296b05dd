"""The parent's side of the workers: give it a task, get what became of it. Whatever a model does, an answer comes.

Prepares a task's directory and judges its end; `navigator.workers.local.client` talks to the server, and
`navigator.workers.task` has the words.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from navigator.frameworks.memory import LIMIT_VARIABLE
from navigator.workers.child import REQUEST, RESULT
from navigator.workers.local.client import ServerClient
from navigator.workers.task import Exit, ExitReason, Task, TaskResult, TaskStatus, judge, log_tail

__all__ = ["ForkServer", "Task", "TaskResult", "TaskStatus", "Workers"]


class Workers(Protocol):
    """An environment: where tasks run. `ForkServer` is this interpreter's; containers are another."""

    def run(self, task: Task) -> TaskResult:
        """Run one task and return what became of it. Blocks; several threads may run tasks at the same time."""

    def cancel(self) -> None:
        """Kill all that runs; running and later tasks are `cancelled`. Safe in a signal handler."""

    def close(self) -> None:
        """Cancel what still runs, and wait until nothing is left."""


class ForkServer:
    """Runs each task in a forked child of one process that has imported the frameworks once. A context manager.

    Constructing returns at once: the imports go on meanwhile, and tasks wait for them. A server that dies is not
    started again: all later tasks get its end as their status.

    Args:
        preload: modules that the server imports, in order, before it forks.
        directory: where `server.log` is written, with what the imports print; made if absent.
        tasks_module: module whose `TASKS` maps names to functions; imported last.
        environment: the variables that the allow-list picks from; None: this process's.
        import_timeout_seconds: how long all imports together may take.
    """

    def __init__(
        self,
        *,
        preload: Sequence[str],
        directory: Path,
        tasks_module: str = "navigator.workers.tasks",
        environment: Mapping[str, str] | None = None,
        import_timeout_seconds: float = 600.0,
    ) -> None:
        self._client = ServerClient(
            preload=preload,
            directory=directory.absolute(),
            tasks_module=tasks_module,
            environment=os.environ if environment is None else environment,
            import_timeout_seconds=import_timeout_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, task: Task) -> TaskResult:
        """Run one task and return what became of it. Blocks; several threads may run tasks at the same time."""
        # The server and the child have working directories of their own.
        task = replace(task, directory=task.directory.absolute(), log_path=task.log_path.absolute())
        try:
            log_start = prepare(task)
        except OSError as error:
            return TaskResult(
                status=TaskStatus.FAILED,
                message=f"can't write {error.filename or task.directory}: {error.strerror}",
                remedy="use a writable workspace with enough free space",
            )
        except (TypeError, ValueError) as error:
            return TaskResult(
                status=TaskStatus.FAILED,
                message=f"the arguments of task {task.name} aren't JSON: {error}",
                remedy="internal error (please report it)",
            )
        ended = self._client.run(task)
        if ended.reason in (ExitReason.SERVER_FAILED, ExitReason.SERVER_CRASHED):
            _quote_server_log(task, ended, self._client.log)
        return judge(task, ended, log_start=log_start)

    def cancel(self) -> None:
        """Kill all running children; running and later tasks are `cancelled`. Safe in a signal handler."""
        self._client.cancel()

    def close(self) -> None:
        """Cancel what still runs, and wait until no process is left."""
        self._client.close()


def prepare(task: Task) -> int:
    """Make the task's directory and request; return the size of its log in bytes.

    Raises:
        OSError: a directory or file cannot be written.
        TypeError, ValueError: the arguments are not JSON.
    """
    variables = {LIMIT_VARIABLE: str(task.memory_limit_bytes), **task.variables}
    request = json.dumps({"name": task.name, "arguments": dict(task.arguments), "variables": variables})
    task.directory.mkdir(parents=True, exist_ok=True)
    # An earlier task's result must never be taken for this one's.
    (task.directory / RESULT).unlink(missing_ok=True)
    (task.directory / REQUEST).write_text(request)
    task.log_path.parent.mkdir(parents=True, exist_ok=True)
    with task.log_path.open("ab") as log:
        return log.seek(0, os.SEEK_END)


def _quote_server_log(task: Task, ended: Exit, server_log: Path) -> None:
    """Show in the task's own log why there was nobody to run it."""
    try:
        with task.log_path.open("a") as log:
            print(ended.detail, f"The end of {server_log}:", *log_tail(server_log, 0), sep="\n", file=log)
    except OSError:
        return  # the message says the same in one line
