"""Tasks that do to a worker what models and converters were seen to do. Imported by the fork servers of the tests."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.memory import require_memory

Arguments = Mapping[str, Any]


def echo(arguments: Arguments) -> Any:
    return dict(arguments)


def segfault(arguments: Arguments) -> Any:
    os.write(1, b"loading weights\n")
    return ctypes.string_at(0)


def segfault_after_printf(arguments: Arguments) -> Any:
    ctypes.CDLL(None).printf(b"from C without a flush\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def abort(arguments: Arguments) -> Any:
    os.abort()


def kill_self(arguments: Arguments) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_without_result(arguments: Arguments) -> Any:
    os._exit(arguments["code"])


def sys_exit(arguments: Arguments) -> Any:
    sys.exit(arguments["code"])


def half_result(arguments: Arguments) -> Any:
    Path("result.json").write_text('{"ok": true, "val')
    os._exit(0)


def foreign_result(arguments: Arguments) -> Any:
    Path("result.json").write_text("[1, 2]")
    os._exit(0)


def segfault_after_result(arguments: Arguments) -> Any:
    def leave(code: int) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    os._exit = leave  # type: ignore[assignment]  # stands for a crash in the frameworks' teardown
    return "written before"


def allocate(arguments: Arguments) -> Any:
    held = bytearray(b"x") * arguments["bytes"]
    time.sleep(arguments.get("seconds", 60))
    return len(held)


def require(arguments: Arguments) -> Any:
    require_memory(arguments["bytes"], "the test")


def allocate_in_grandchild(arguments: Arguments) -> Any:
    subprocess.run([sys.executable, "-c", f"h = bytearray(b'x') * {arguments['bytes']}; import time; time.sleep(60)"])


def share_with_forks(arguments: Arguments) -> Any:
    """Hold memory once, in processes that share it by fork."""
    held = bytearray(b"x") * arguments["bytes"]
    for _ in range(3):
        if os.fork() == 0:
            time.sleep(60)
    time.sleep(0.7)
    return len(held)


def hang(arguments: Arguments) -> Any:
    """Ignore every signal that can be ignored, and never end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    escaped = _daemon() if arguments.get("daemon") else None
    child = subprocess.Popen(["sleep", "1000"])
    half_made = Path(f"{arguments['pids']}.tmp")
    half_made.write_text(" ".join(str(pid) for pid in (os.getpid(), os.getppid(), child.pid, escaped) if pid))
    half_made.rename(arguments["pids"])
    while True:
        time.sleep(100)


def leave_grandchild(arguments: Arguments) -> Any:
    return subprocess.Popen(["sleep", "1000"]).pid


def leave_daemon(arguments: Arguments) -> Any:
    """Leave a process that is in no group or session of ours, whose parent is gone, and that holds the log open."""
    return _daemon()


def use_daemon(arguments: Arguments) -> Any:
    """Start a daemon of our own, and need it while another task ends."""
    pid = _daemon()
    directory = Path(arguments["directory"])
    (directory / "started").touch()
    while not (directory / "other task ended").exists():
        time.sleep(0.002)
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def crash_leaving_daemon(arguments: Arguments) -> Any:
    Path(arguments["pids"]).write_text(str(_daemon()))
    os.abort()


def _daemon() -> int:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            os.write(1, b"daemon lives\n")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        os.write(theirs, str(pid).encode())
        os._exit(0)
    return int(os.read(ours, 20))


def step_error(arguments: Arguments) -> Any:
    raise StepError("the model has a string input 'text'", "convert the part after the lookup table")


def failing(arguments: Arguments) -> Any:
    raise RuntimeError(arguments["text"])


def out_of_memory_error(arguments: Arguments) -> Any:
    return len(bytearray(2**62))


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def unprintable(arguments: Arguments) -> Any:
    raise UnprintableError


def unserialisable(arguments: Arguments) -> Any:
    return {"session": object()}


def shout(arguments: Arguments) -> Any:
    line = b"\x1b[31mnode 17 is not supported\x1b[0m " + b"." * 1000 + b"\n"
    for _ in range(arguments["bytes"] // 10**6):
        os.write(2, line * 1000)
    os.write(1, b"=" * 40 + b"\n")
    if arguments["crash"]:
        os.abort()
    return "said"


def no_result_possible(arguments: Arguments) -> Any:
    Path("result.json.tmp").mkdir()
    return "lost"


def surroundings(arguments: Arguments) -> Any:
    return {
        "environment": dict(os.environ),
        "own /proc": Path("/proc/self/environ").read_text(),
        "pid": os.getpid(),
        "server": os.getppid(),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "directory": str(Path.cwd()),
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "stdout": str(Path("/proc/self/fd/1").readlink()),
        "stderr": str(Path("/proc/self/fd/2").readlink()),
        "descriptors": [
            str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and int(path.name) > 2
        ],
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
    }


def attempt(arguments: Arguments) -> Any:
    """Return what comes of some statements: "" or the system's error."""
    outcomes = []
    for statement in arguments["statements"]:
        try:
            exec(statement, {"os": os, "Path": Path})
            outcomes.append("")
        except OSError as error:
            outcomes.append(str(error.strerror))
    return outcomes


def meet(arguments: Arguments) -> Any:
    """Wait for another task that runs at the same time."""
    directory = Path(arguments["directory"])
    (directory / arguments["me"]).touch()
    while not (directory / arguments["other"]).exists():
        time.sleep(0.002)
    return os.getpid()


TASKS: dict[str, Callable[[Arguments], Any]] = {
    task.__name__: task
    for task in (
        abort,
        allocate,
        allocate_in_grandchild,
        attempt,
        crash_leaving_daemon,
        echo,
        exit_without_result,
        failing,
        foreign_result,
        half_result,
        hang,
        kill_self,
        leave_daemon,
        leave_grandchild,
        meet,
        no_result_possible,
        out_of_memory_error,
        require,
        segfault,
        segfault_after_printf,
        segfault_after_result,
        share_with_forks,
        shout,
        step_error,
        surroundings,
        sys_exit,
        unprintable,
        unserialisable,
        use_daemon,
    )
}
