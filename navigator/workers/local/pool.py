"""The parent's side of the workers: give it a task, get what became of it. Whatever a model does, an answer comes.

Prepares a task's directory and judges its end; `navigator.workers.local.client` talks to the server, and
`navigator.workers.task` has the words.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from navigator.workers.local.client import ServerClient
from navigator.workers.request import RequestError, prepare, quote_log
from navigator.workers.task import ExitReason, Task, TaskResult, TaskStatus, failed, judge

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
        try:
            task, log_start = prepare(task)
        except RequestError as error:
            return failed(error)
        ended = self._client.run(task)
        if ended.reason in (ExitReason.SERVER_FAILED, ExitReason.SERVER_CRASHED):
            quote_log(task, ended.detail, self._client.log)
        return judge(task, ended, log_start=log_start)

    def cancel(self) -> None:
        """Kill all running children; running and later tasks are `cancelled`. Safe in a signal handler."""
        self._client.cancel()

    def close(self) -> None:
        """Cancel what still runs, and wait until no process is left."""
        self._client.close()
