"""What a forked child does: cut itself off from the server, run a task, write its result file, leave or get another.

The result file, complete or absent, is all that the parent believes. Supervises nothing: deadline and memory are the
server's. Never returns into the server's code.
"""

import contextlib
import errno
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from navigator import disks
from navigator.errors import NotApplicableError, StepError, exhausted, remedy
from navigator.records import Json
from navigator.workers import processes, sandbox

Tasks = Mapping[str, Callable[[Mapping[str, Json]], Json]]

REQUEST = "request.json"
RESULT = "result.json"
HEADER = "=== "

CANNOT_WRITE_RESULT = 74
"""Exit code (sysexits.h, EX_IOERR) of a child that could not even write that it failed."""

DONE = b"."
"""What a lasting worker sends after each task."""

_MESSAGE_BYTES = 65536
_TEXT_LIMIT = 500
_DENIED = os.strerror(errno.EACCES)


def main(tasks: Tasks, directory: Path, log: Path, server: int, connection: socket.socket | None = None) -> NoReturn:
    """Run the task that `directory` holds as `request.json`, and end this process.

    Leaves by `os._exit`: the frameworks' own teardown may hang or crash, and nothing of it is needed.

    Args:
        tasks: name to function.
        directory: the task's own; becomes the working directory.
        log: what the task and its libraries print is appended here.
        server: process id of the server.
        connection: where to say that a task is done, and to get the next one's directory, until one fails. None if this
            worker is over with its task.
    """
    code = 1
    try:
        _isolate(server)
        answer = _begin(directory, log) or _run(tasks, directory)
        code = _answer(directory, answer)
        while connection is not None and code == 0 and answer["ok"]:
            directory = _next(connection)
            answer = _run(tasks, directory)
            code = _answer(directory, answer)
    except SystemExit as error:
        # Left without a result, which the parent reports; what the task returned is unknown.
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second server
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _isolate(server: int) -> None:
    """Make this process one that can be killed as a whole and that takes nothing else along."""
    # A group and a session of its own: one signal ends it with its children, and Ctrl-C does not reach it.
    os.setsid()
    processes.die_with_parent(server)
    # Descendants that leave the group stay in this process's tree while it lives, so that they count in its memory,
    # and become the server's children when it ends, so that they are found and killed.
    processes.become_subreaper()
    processes.be_first_victim()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    gc.enable()


def _begin(directory: Path, log: Path) -> dict[str, Json] | None:
    """Take the first task's log and enter the sandbox; return the content of the result file if that fails."""
    try:
        _redirect(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
        request = json.loads((directory / REQUEST).read_text())
        home, reads, writes = Path(request["home"]), map(Path, request["reads"]), map(Path, request["writes"])
        sandbox.enter(home, log, reads, writes, gpu=request["gpu"])
    except (OSError, ValueError) as error:
        return _not_started(error, directory)
    return None


def _next(connection: socket.socket) -> Path:
    """Say that a task is done and wait for the next one; return its directory, with its log in place."""
    connection.send(DONE)
    # The log comes open: the sandbox keeps this process from opening it.
    message, logs, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 1)
    if not message:
        sys.exit(0)
    _redirect(logs[0])
    return Path(os.fsdecode(message))


def _run(tasks: Tasks, directory: Path) -> dict[str, Json]:
    """Return the content of the result file."""
    try:
        os.chdir(directory)
        request = json.loads((directory / REQUEST).read_text())
        os.environ.update(request.get("variables", {}))
    except (OSError, ValueError) as error:
        return _not_started(error, directory)
    name = request["name"]
    print(f"{HEADER}{name}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}", flush=True)  # noqa: T201 - its log
    if name not in tasks:
        return _failure(f"no task is called {name!r}", f"known: {', '.join(sorted(tasks))}")
    try:
        return {"ok": True, "value": tasks[name](request["arguments"])}
    except StepError as error:
        traceback.print_exc()
        failure = _failure(error.message, error.hint) | _about_disk(error, directory)
        return failure | {"not_applicable": isinstance(error, NotApplicableError)}
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - models are code: anything may come
        traceback.print_exc()
        told = exhausted(error)
        failure = _failure(told.message, told.hint) if told else _failure(one_line(error))
        return failure | _about_disk(error, directory)


def _not_started(error: OSError | ValueError, directory: Path) -> dict[str, Json]:
    failure = _failure(f"can't start the task: {one_line(error)}", "make sure the workspace is writable")
    return failure | _about_disk(error, directory)


def _redirect(log: int) -> None:
    """Point the file descriptors themselves at the log: libraries print from C++."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)


def _answer(directory: Path, answer: dict[str, Json]) -> int:
    """Write the result file and return the exit code."""
    try:
        text = json.dumps(answer)
    except (TypeError, ValueError, RecursionError) as error:
        traceback.print_exc()
        text = json.dumps(_failure(f"the task returned a value that isn't JSON: {one_line(error)}"))
    try:
        _write(directory / RESULT, text)
    except OSError as error:
        traceback.print_exc()
        failure = _failure(f"can't write its result to {directory}: {error.strerror}", remedy(error))
        try:  # this is shorter, and a full disk may have that much room
            _write(directory / RESULT, json.dumps(failure | _about_disk(error, directory)))
        except OSError:
            return CANNOT_WRITE_RESULT
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file that is complete on disk or absent."""
    half_made = path.with_name(path.name + ".tmp")
    try:
        with half_made.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half_made.replace(path)
    except OSError:
        half_made.unlink(missing_ok=True)
        raise


def _about_disk(error: BaseException, directory: Path) -> dict[str, Json]:
    """Return what a failure says instead if a full disk is behind it, which is no matter of the model."""
    if not disks.is_about_full_disk(error):
        return {}
    # Temporary files are in the directory too.
    return {"message": disks.full_disk(disks.file_of(error) or directory), "hint": disks.REMEDY, "full_disk": True}


def _failure(message: str, hint: str = "") -> dict[str, Json]:
    if _DENIED in message:
        hint = "a model opens its own files and no others: make sure that this one is its own, and readable"
    return {"ok": False, "message": message, "hint": hint, "traceback": traceback.format_exc()}


def one_line(error: BaseException) -> str:
    """Return `TypeName: first line of its text`, of bounded length, whatever the exception does when asked."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - somebody's __str__
        lines = []
    name = type(error).__name__
    text = f"{name}: {lines[0].strip()}" if lines else name
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"
