"""The fork server: one process, one thread, that imports the frameworks once and forks one child per task.

Run as `python -m navigator.workers.local.server SOCKET TASKS_MODULE [MODULE ...]` by
`navigator.workers.local.client`, with which it exchanges JSON lines over the socket. It watches its children's
deadlines and memory, and leaves no descendant behind. A child may last, and is given later tasks of its name. The
server runs no operation, opens no session and touches no GPU: a child forked after an operation was seen to hang.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from navigator.errors import exhausted
from navigator.records import Json
from navigator.workers import child, processes

# A process can touch some 3 GiB a second: a limit is overrun by a few hundred MiB at most, for 0.1 % of a core.
_SAMPLE_SECONDS = 0.1
# A descendant that cannot be killed for so long hangs in the kernel (a driver, a dead network disk).
_UNKILLABLE_SECONDS = 5.0


@dataclass(kw_only=True, slots=True)
class _Live:
    """A task whose child runs. `reason` says why it was killed by us, or is empty."""

    task: int
    started: float
    deadline: float
    memory_limit: int
    next_sample: float
    peak: int = 0
    used: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lasting:
    """A child that runs the tasks of a name one after another, and the connection to it."""

    pid: int
    connection: socket.socket


class _Server:
    """The children and the connection. Everything happens in `serve`."""

    def __init__(self, connection: socket.socket, tasks: child.Tasks) -> None:
        self._connection = connection
        self._tasks = tasks
        self._live: dict[int, _Live] = {}
        self._lasting: dict[str, _Lasting] = {}
        self._received = b""
        self._stopping = False
        self._wake, self._wake_end = socket.socketpair()
        self._poller = select.poll()

    def serve(self) -> None:
        """Fork a child for each request until the parent hangs up; then end them all."""
        self._listen_to_signals()
        self._poller.register(self._connection, select.POLLIN)
        self._poller.register(self._wake, select.POLLIN)
        try:
            self._send({"event": "ready"})
            while not self._stopping:
                self._reap()  # before deadlines are looked at: what has ended in time is not late
                for descriptor, _ in self._poller.poll(self._supervise() * 1000):
                    if descriptor == self._wake.fileno():
                        self._wake.recv(4096)
                    elif descriptor == self._connection.fileno():
                        self._receive()
                    else:
                        self._done(descriptor)
        except OSError as error:  # the parent is gone
            print(f"stopping: {error}", flush=True)  # noqa: T201 - goes to server.log
        finally:
            self._kill_all("cancelled")

    def _listen_to_signals(self) -> None:
        self._wake.setblocking(False)
        self._wake_end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the byte in the wake-up socket is all that is needed
        signal.signal(signal.SIGTERM, self._stop)
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _send(self, message: dict[str, Json]) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            self._stopping = True
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._start(json.loads(line))

    def _start(self, request: dict[str, Json]) -> None:
        pid = self._handed_on(request)
        if pid is None:
            try:
                pid = self._fork(request)
            except OSError as error:
                self._send({"event": "ended", "task": request["task"], "reason": "not_started", "detail": str(error)})
                return
        now = time.monotonic()
        self._live[pid] = _Live(
            task=request["task"],
            started=now,
            deadline=now + request["timeout_seconds"],
            memory_limit=request["memory_limit_bytes"],
            next_sample=now + _SAMPLE_SECONDS,
        )
        self._send({"event": "started", "task": request["task"], "pid": pid})

    def _handed_on(self, request: dict[str, Json]) -> int | None:
        """Give a task to the lasting child that waits for it; return its id, or None if there's none."""
        lasting = self._lasting.get(request["lasting"])
        if lasting is None or lasting.pid in self._live:
            return None
        try:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                socket.send_fds(lasting.connection, [os.fsencode(request["directory"])], [log])
            finally:
                os.close(log)
        except OSError:  # it has died, or its log can't be written, which a new child says in its result
            return None
        return lasting.pid

    def _fork(self, request: dict[str, Json]) -> int:
        """Start a child for a task, which lasts if the task wants that and no other does; return its id."""
        sys.stdout.flush()
        sys.stderr.flush()
        lasts = request["lasting"] and request["lasting"] not in self._lasting
        # Datagrams: one message is one task.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if lasts else (None, None)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            others = [each.connection for each in self._lasting.values()]
            for each in (self._connection, self._wake, self._wake_end, ours, *others):
                if each is not None:
                    each.close()
            child.main(self._tasks, Path(request["directory"]), Path(request["log"]), server, theirs)
        if ours is not None and theirs is not None:
            theirs.close()
            self._lasting[request["lasting"]] = _Lasting(pid=pid, connection=ours)
            self._poller.register(ours, select.POLLIN)
        return pid

    def _done(self, descriptor: int) -> None:
        """Take note of a task that a lasting child has done, or of its hanging up."""
        lasting = next(each for each in self._lasting.values() if each.connection.fileno() == descriptor)
        if not lasting.connection.recv(len(child.DONE)):
            self._poller.unregister(descriptor)  # it ends, and is reaped
            return
        live = self._live.get(lasting.pid)
        if live is None or live.reason:  # killed meanwhile: it's reaped
            return
        del self._live[lasting.pid]
        for each in processes.tree(lasting.pid)[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self._tell(live, status=0, peak=live.peak)

    def _supervise(self) -> float:
        """Kill what is over its deadline or memory limit; return the seconds until there is something to look at."""
        now = time.monotonic()
        for pid, live in self._live.items():
            if live.reason:
                continue
            if now >= live.deadline:
                self._kill(pid, live, "timed_out")
            elif now >= live.next_sample:
                self._sample(pid, live)
        waiting = [min(live.deadline, live.next_sample) for live in self._live.values() if not live.reason]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else _UNKILLABLE_SECONDS

    def _sample(self, pid: int, live: _Live) -> None:
        """Measure the child's whole tree; the dear exact measure decides only where the cheap bound is over."""
        started = time.monotonic()
        pids = processes.tree(pid)
        live.used = processes.resident_bytes(pids)
        live.peak = max(live.peak, live.used)
        if live.used > live.memory_limit:
            live.used = processes.proportional_bytes(pids)
            if live.used > live.memory_limit:
                self._kill(pid, live, "out_of_memory")
        now = time.monotonic()
        live.next_sample = now + max(_SAMPLE_SECONDS, 10 * (now - started))

    def _kill(self, pid: int, live: _Live, reason: str) -> None:
        """Kill a child and its group. What left the group is killed when the child has ended."""
        live.reason = live.reason or reason
        _signal_group(pid)
        with contextlib.suppress(ProcessLookupError):  # before its setsid the child has no group of its own
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Take note of every child that ended, ours or an orphan."""
        while True:
            try:
                # Not reaped yet: its id, which is also its group's, cannot be given to another process meanwhile.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            self._end(ended.si_pid)

    def _end(self, pid: int) -> None:
        live = self._live.pop(pid, None)
        if live is not None:
            _signal_group(pid)
        _, status, usage = os.wait4(pid, 0)
        self._forget(pid)
        if live is None:
            return
        # Samples see the whole tree but miss what comes and goes between them; the kernel's own mark does not.
        self._tell(live, status=os.waitstatus_to_exitcode(status), peak=max(live.peak, usage.ru_maxrss * 1024))

    def _forget(self, pid: int) -> None:
        """Close the connection to a child that has ended."""
        for name in [name for name, each in self._lasting.items() if each.pid == pid]:
            connection = self._lasting.pop(name).connection
            with contextlib.suppress(KeyError):  # it has hung up before
                self._poller.unregister(connection)
            connection.close()

    def _tell(self, live: _Live, *, status: int, peak: int) -> None:
        """Say how a task has ended, once all that it started has."""
        seconds = time.monotonic() - live.started
        self._kill_orphans()
        self._send(
            {
                "event": "ended",
                "task": live.task,
                "reason": live.reason or "exited",
                "status": status,
                "seconds": seconds,
                "peak_bytes": peak,
                "used_bytes": live.used,
            }
        )

    def _kill_orphans(self) -> None:
        """Kill all descendants that belong to no running task, so that a task ends with all that it started.

        Only our own children are signalled, so that no id can be somebody else's; theirs then become ours.
        """
        give_up = time.monotonic() + _UNKILLABLE_SECONDS
        kept = {*self._live, *(each.pid for each in self._lasting.values())}
        while orphans := [pid for pid in processes.children(os.getpid()) if pid not in kept]:
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > give_up:
                print(f"can't kill {orphans}", flush=True)  # noqa: T201 - goes to server.log
                return
            time.sleep(0.001)

    def _kill_all(self, reason: str) -> None:
        for pid, live in self._live.items():
            self._kill(pid, live, reason)
        give_up = time.monotonic() + _UNKILLABLE_SECONDS
        while self._live and time.monotonic() < give_up:
            with contextlib.suppress(OSError):  # the parent may be gone, and must not keep us from reaping
                self._reap()
            time.sleep(0.001)
        self._live.clear()
        self._lasting.clear()
        self._kill_orphans()


def _signal_group(group: int) -> None:
    """Kill a process group with one signal, which also ends what forks faster than it can be listed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _die_on_hangup(connection: socket.socket, enabled: bool) -> None:
    """While modules are imported nobody reads the socket: let the kernel end us when the parent hangs up.

    The parent sends nothing before we are ready, so any SIGIO means that. Its default action ends the process.
    (PR_SET_PDEATHSIG would do so already when the parent's thread that started us ends.)
    """
    flags = fcntl.fcntl(connection, fcntl.F_GETFL)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, flags | os.O_ASYNC if enabled else flags & ~os.O_ASYNC)
    if enabled and select.select([connection], [], [], 0)[0]:  # it hung up before the call
        sys.exit(1)


def _import_all(connection: socket.socket, names: Sequence[str], tasks_module: str) -> child.Tasks | None:
    """Import everything that children use, and return the table of tasks, or None after telling the parent why not."""
    tasks: child.Tasks | None = None
    for name in (*names, tasks_module):
        connection.sendall(json.dumps({"event": "importing", "module": name}).encode() + b"\n")
        try:
            module = importlib.import_module(name)
            tasks = module.TASKS if name == tasks_module else None
        except BaseException as error:  # noqa: BLE001 - some modules exit the process instead of raising
            sys.excepthook(type(error), error, error.__traceback__)
            told = exhausted(error)
            remedy = told.hint if told else "reinstall that package"
            message = {"event": "import_failed", "module": name, "detail": child.one_line(error), "remedy": remedy}
            connection.sendall(json.dumps(message).encode() + b"\n")
            return None
    return tasks


def main() -> int:
    """Import, then serve until the parent hangs up."""
    descriptor, tasks_module, *names = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    processes.become_subreaper()
    _die_on_hangup(connection, True)
    gc.disable()  # imports make much and free little; and see freeze
    tasks = _import_all(connection, names, tasks_module)
    if tasks is None:
        return 1
    _die_on_hangup(connection, False)
    # Else each child's first collection writes to every object that it shares with us: 70 MB with TensorFlow.
    gc.freeze()
    _Server(connection, tasks).serve()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The frameworks' own teardown may hang.
    os._exit(code)
