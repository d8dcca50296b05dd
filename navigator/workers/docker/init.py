"""The first process of a worker's container: runs one task in a child, and ends when its starter is gone.

Run as `python3 -m navigator.workers.docker.init TASKS_MODULE DIRECTORY SECONDS` by
`navigator.workers.docker.container`. Standard input is its lifeline: a line lets the task begin, the next line or its
end ends everything. Standard output is the task's log. Standard error carries one JSON line an event. Decides nothing
about the task: the result file does.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from navigator.records import Json
from navigator.workers import child, processes

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4

_LOG = Path("/dev/stdout")
_SAMPLE_SECONDS = 0.1
_UNKILLABLE_SECONDS = 5.0
# In case that even the machine of who started us is gone, and the network has not told Docker.
_ABANDONED_SECONDS = 6 * 3600.0
# The container's own control group, version 2 or 1.
_OOM_COUNTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
_PEAKS = (Path("/sys/fs/cgroup/memory.peak"), Path("/sys/fs/cgroup/memory/memory.max_usage_in_bytes"))


def main() -> int:
    """Return the exit code, of which nothing depends."""
    tasks_module, directory, seconds = sys.argv[1:]
    if os.getpid() != 1:
        print("this is the first process of a container and nothing else", file=sys.stderr)  # noqa: T201
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _hide(True)
    try:
        tasks = importlib.import_module(tasks_module).TASKS
    except BaseException as error:  # noqa: BLE001 - some modules exit the process instead of raising
        traceback.print_exc(file=sys.stdout)
        _tell("import_failed", detail=f"can't import {tasks_module}: {child.one_line(error)}")
        _stay(_ABANDONED_SECONDS)
        return 1
    _tell("ready")
    if not _stay(_ABANDONED_SECONDS):
        return 1
    if _run(tasks, Path(directory), float(seconds)):
        _stay(_ABANDONED_SECONDS)  # what the task left is fetched meanwhile
    return 0


def _run(tasks: child.Tasks, directory: Path, seconds: float) -> bool:
    """Run the task and tell how it ended; return whether it did, rather than being given up."""
    wake, wake_end = socket.socketpair()
    wake.setblocking(False)
    wake_end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the byte in the socket is all that is needed
    signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
    poller = select.poll()
    poller.register(sys.stdin.fileno(), select.POLLIN)
    poller.register(wake, select.POLLIN)
    started = time.monotonic()
    next_sample, peak = started + _SAMPLE_SECONDS, 0
    pid = os.fork()
    if pid == 0:
        _hide(False)
        wake.close()
        wake_end.close()
        child.main(tasks, directory, _LOG, 1)
    while (ended := _reap(pid)) is None:
        now = time.monotonic()
        if now - started > seconds:
            return False
        if now >= next_sample:
            peak = max(peak, processes.resident_bytes(processes.tree(pid)))
            next_sample = time.monotonic() + max(_SAMPLE_SECONDS, 10 * (time.monotonic() - now))
        for descriptor, _ in poller.poll(max(0.0, next_sample - time.monotonic()) * 1000):
            if descriptor == sys.stdin.fileno():
                return False
            wake.recv(4096)
    status, own_peak = ended
    _kill_all()
    most = _number(_PEAKS, "")  # of everything, with files that the kernel holds in memory
    _tell(
        "ended",
        status=status,
        seconds=time.monotonic() - started,
        # Samples count what processes share in each of them.
        peak_bytes=max(own_peak, min(peak, most or peak)),
        used_bytes=most,
        oom_kills=_number(_OOM_COUNTS, "oom_kill "),
    )
    return True


def _reap(child_pid: int) -> tuple[int, int] | None:
    """Take note of everything that ended; return status and peak in bytes of the task's process once it is among it."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child_pid:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024


def _kill_all() -> None:
    """Kill whatever the task left running: nothing may change its files while they are fetched."""
    give_up = time.monotonic() + _UNKILLABLE_SECONDS
    while time.monotonic() < give_up:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # everything in this container but its first process, which we are
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _stay(seconds: float) -> bool:
    """Wait for a line on the lifeline; return False if it ended, or after `seconds`."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(ready) and bool(os.read(sys.stdin.fileno(), 64))


def _tell(event: str, **facts: Json) -> None:
    sys.stdout.flush()
    os.write(sys.stderr.fileno(), json.dumps({"event": event, **facts}).encode() + b"\n")


def _number(paths: tuple[Path, ...], key: str) -> int:
    """Return the number behind a key in the first of some files that is there, or 0."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                if line.startswith(key):
                    return int(line.removeprefix(key))
    return 0


def _hide(hidden: bool) -> None:
    """Keep processes of the same user, which the task is, from our memory and descriptors; or let them."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(not hidden), 0, 0, 0)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # whatever was imported may hang in its teardown
