"""The parent's end of a fork server: starts the process, talks to it, and notices when it dies or stops answering.

One thread owns the process, the socket and everything that waits; others only put commands into its queue, so
that there is nothing to lock and a signal handler may cancel. Judges no task.
"""

import contextlib
import json
import os
import queue
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from navigator.errors import exhausted
from navigator.records import Json, from_data
from navigator.workers import processes
from navigator.workers.ending import describe_status, last_line
from navigator.workers.environment import MARKER, worker_environment
from navigator.workers.task import Exit, ExitReason, Task

# How long the server may take for what it does at once, before it counts as dead.
_GRACE_SECONDS = 15.0


@dataclass(kw_only=True, slots=True)
class _Waiting:
    """A task that somebody waits for; `overdue` is when the server must have said something about it."""

    task: Task
    reply: "queue.SimpleQueue[Exit]" = field(default_factory=queue.SimpleQueue)
    overdue: float | None = None


class ServerClient:
    """A fork server and the thread that talks to it.

    Args:
        preload: modules to import, in order.
        directory: where `server.log` is written.
        tasks_module: module whose `TASKS` the children run.
        environment: the variables that the allow-list picks from.
        import_timeout_seconds: how long all imports together may take.
    """

    def __init__(
        self,
        *,
        preload: Sequence[str],
        directory: Path,
        tasks_module: str,
        environment: Mapping[str, str],
        import_timeout_seconds: float,
    ) -> None:
        self.log = directory / "server.log"
        self._arguments = [tasks_module, *preload]
        self._marker = f"{MARKER}={secrets.token_hex(16)}"
        self._environment = worker_environment(environment) | {MARKER: self._marker.partition("=")[2]}
        self._import_timeout_seconds = import_timeout_seconds
        self._ending = False
        self._fate: Exit | None = None  # set once: what every later task ends with
        self._commands: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._wake, self._wake_end = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_end.setblocking(False)
        # The thread's alone.
        self._process: subprocess.Popen[bytes] | None = None
        self._connection, self._theirs = socket.socketpair()
        self._received = b""
        self._importing = ""
        self._import_failure: tuple[str, str] | None = None
        self._import_overdue: float | None = time.monotonic() + import_timeout_seconds
        self._log_start = 0
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="fork-server", daemon=True)
        self._thread.start()

    def run(self, task: Task) -> Exit:
        """Run a task and return how it ended; blocks. Any number of threads may do so."""
        waiting = _Waiting(task=task)
        self._commands.put(waiting)
        self._wake_up()
        while self._fate is None:
            with contextlib.suppress(queue.Empty):
                return waiting.reply.get(timeout=0.5)
        # It may have ended by itself just before the server did.
        with contextlib.suppress(queue.Empty):
            return waiting.reply.get_nowait()
        return self._fate

    def cancel(self) -> None:
        """End the server and all that it runs; running and later tasks end as cancelled. Returns at once."""
        self._ending = True
        self._wake_up()

    def close(self) -> None:
        """Cancel, and wait until nothing is left."""
        self.cancel()
        self._thread.join()
        for each in (self._wake, self._wake_end):
            each.close()

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake up anyhow; closed: nobody is there
            self._wake_end.send(b"x")

    # From here on everything runs in the thread.

    def _run(self) -> None:
        fate = Exit(reason=ExitReason.SERVER_CRASHED, detail="the worker server's thread ended")
        try:
            self._start()
            fate = self._serve()
        except Exception as error:  # noqa: BLE001 - nobody may be left waiting, whatever it is
            told = exhausted(error)
            detail = f"can't start the worker server: {told.message if told else error}"
            reason = ExitReason.SERVER_FAILED if told else ExitReason.SERVER_CRASHED
            fate = Exit(reason=reason, detail=detail, remedy=told.hint if told else "")
        finally:
            self._end_process()
            for waiting in self._waiting.values():
                waiting.reply.put(fate)
            self._fate = fate
            with contextlib.suppress(queue.Empty):
                while True:
                    self._commands.get_nowait().reply.put(fate)

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._theirs, self.log.open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # where we were started there may be an onnx.py or a tensorflow/ of somebody's own
                    *("-X", "faulthandler"),  # a crash writes its Python stack to the log, in the children too
                    *("-m", "navigator.workers.local.server", str(self._theirs.fileno())),
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                pass_fds=[self._theirs.fileno()],
                start_new_session=True,
            )

    def _serve(self) -> Exit:
        """Pass messages on until the server has ended; return what later tasks end with."""
        hung_up = False
        while True:
            ready, _, _ = select.select([self._connection, self._wake], [], [], self._patience())
            if not ready and self._patience() == 0.0:
                return self._silent()
            if self._connection in ready and not self._receive():
                return self._gone()
            if self._wake in ready:
                self._wake.recv(4096)
                self._accept()
            if self._ending and not hung_up:
                if self._import_overdue is not None:  # it listens to nobody yet, and has no children
                    return _CANCELLED
                hung_up = True
                self._connection.shutdown(socket.SHUT_WR)
                for waiting in self._waiting.values():
                    waiting.overdue = time.monotonic() + _GRACE_SECONDS

    def _patience(self) -> float | None:
        """Return the seconds until something is overdue, at most a minute, or None if nothing is expected."""
        moments = [self._import_overdue, *(waiting.overdue for waiting in self._waiting.values())]
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(60.0, min(known) - time.monotonic())) if known else None

    def _accept(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting = self._commands.get_nowait()
                if self._ending:
                    waiting.reply.put(_CANCELLED)
                    continue
                self._count += 1
                self._waiting[self._count] = waiting
                if self._import_overdue is None:
                    self._request(self._count, waiting)

    def _request(self, number: int, waiting: _Waiting) -> None:
        task = waiting.task
        message = {
            "task": number,
            "directory": str(task.directory),
            "log": str(task.log_path),
            "timeout_seconds": task.timeout_seconds,
            "memory_limit_bytes": task.memory_limit_bytes,
            "lasting": task.lasting.name if task.lasting else "",
        }
        waiting.overdue = time.monotonic() + _GRACE_SECONDS
        with contextlib.suppress(OSError):  # it is gone: the next read says so
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self) -> bool:
        """Take what the server says; return False if it has hung up."""
        try:
            data = self._connection.recv(65536)
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return bool(data)

    def _take(self, message: dict[str, Json]) -> None:
        match message.pop("event"):
            case "importing":
                self._importing = message["module"]
            case "import_failed":
                self._import_failure = message["detail"], message["remedy"]
            case "ready":
                self._import_overdue = None
                for number, waiting in self._waiting.items():
                    self._request(number, waiting)
            case "started":
                waiting = self._waiting[message["task"]]
                waiting.overdue = time.monotonic() + waiting.task.timeout_seconds + _GRACE_SECONDS
            case _:
                waiting = self._waiting.pop(message.pop("task"))
                waiting.reply.put(from_data(Exit, message))

    def _gone(self) -> Exit:
        """Say what the server's hanging up means for the tasks that wait and those to come."""
        if self._ending:
            return _CANCELLED
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        if self._import_failure:
            why, remedy = self._import_failure
            detail = f"can't import {self._importing}: {why}"
            return Exit(reason=ExitReason.SERVER_FAILED, detail=detail, remedy=remedy)
        status = self._process.returncode
        died = "hung up" if status is None else describe_status(status)
        if self._import_overdue is None:
            detail = f"the worker server died: {died}"
        else:
            detail = f"the worker server died while importing {self._importing or 'its first module'}: {died}"
            if last := last_line(self.log, self._log_start):
                detail += f"; last output: {last}"
        return Exit(reason=ExitReason.SERVER_CRASHED, detail=detail)

    def _silent(self) -> Exit:
        """Say what it means that the server missed a moment by which it had to say something."""
        if self._import_overdue is not None:
            module = self._importing or "the first module"
            detail = f"importing {module} didn't finish within {self._import_timeout_seconds:g} s"
        else:
            detail = "the worker server stopped answering"
        return Exit(reason=ExitReason.SERVER_CRASHED, detail=detail)

    def _end_process(self) -> None:
        """Leave no process behind."""
        self._connection.close()
        self._theirs.close()
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Unless it is on its way out after our hanging up, there is nothing to wait for.
            if self._ending and self._import_overdue is None:
                self._process.wait(_GRACE_SECONDS)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        if self._process.returncode != 0:  # it could not clean up after itself
            processes.kill_marked(self._marker)


_CANCELLED = Exit(reason=ExitReason.CANCELLED)
