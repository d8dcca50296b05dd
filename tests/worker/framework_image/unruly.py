"""More tasks that misbehave, in ways that a container keeps in bounds. Imported in containers only."""

import contextlib
import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Arguments = Mapping[str, Any]


def connect(arguments: Arguments) -> Any:
    with socket.create_connection((arguments["host"], arguments["port"]), timeout=5):
        return "connected"


def inside(arguments: Arguments) -> Any:
    """Tell what a task finds around it."""
    package = Path(str(importlib.import_module("navigator").__file__)).parent
    writable = [
        str(path) for path in (package, Path("/etc"), Path("/usr/local/bin"), Path("/")) if os.access(path, os.W_OK)
    ]
    status = Path("/proc/self/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return {
        "environment": dict(os.environ),
        "user": [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()],
        "capabilities": [int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no new privileges": facts["NoNewPrivs"].strip(),
        "writable": writable,
        "sockets": [str(path) for path in (Path("/var/run/docker.sock"), Path("/run/docker.sock")) if path.exists()],
        "interfaces": sorted(os.listdir("/sys/class/net")),  # noqa: PTH208
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "first process": _first_process(),
        "stdin": os.readlink("/proc/self/fd/0"),  # noqa: PTH115
        "core limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": {path: _content(path) for path in arguments.get("files", ())},
    }


def _first_process() -> list[str]:
    """Return what can be seen of the process that tells our parent how we ended."""
    seen = []
    for name in ("environ", "mem", "fd/2"):
        try:
            with open(f"/proc/1/{name}", "rb"):  # noqa: PTH123
                seen.append(name)
        except OSError:
            pass
    return seen


def _content(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        return str(error.strerror)


def multiply(arguments: Arguments) -> Any:
    """Start processes that start threads, all to stay; return how many there were and what stopped them."""
    ours, theirs = os.pipe()
    told, tell = os.pipe()
    for _ in range(arguments["processes"]):
        if os.fork() == 0:
            os.close(tell)
            os.read(told, 1)  # the last process must find room too
            threading.stack_size(2**16)
            started, problem = 1, ""
            try:
                for _ in range(arguments["threads"]):
                    threading.Thread(target=time.sleep, args=(60,)).start()
                    started += 1
            except RuntimeError as error:
                problem = str(error)
            os.write(theirs, f"{started} {problem}\n".encode())
            time.sleep(60)
    os.close(tell)
    with os.fdopen(ours) as lines:
        said = [lines.readline().strip().partition(" ") for _ in range(arguments["processes"])]
    return {"count": sum(int(started) for started, _, _ in said), "problems": sorted({each for _, _, each in said})}


def copy(arguments: Arguments) -> Any:
    """Copy files, to show what was sent and that what was made comes back."""
    for source, destination in arguments["copies"]:
        content = Path(source).read_bytes()
        Path(destination).parent.mkdir(parents=True, exist_ok=True)
        Path(destination).write_bytes(content)
    return sorted(str(path) for path in Path(arguments["tree"]).rglob("*")) if arguments.get("tree") else None


def alter(arguments: Arguments) -> Any:
    """Try to write into what we were given to read."""
    try:
        with Path(arguments["path"]).open("ab") as file:
            file.write(b"altered")
    except OSError as error:
        return error.strerror
    return "altered"


def fail_with_grandchild(arguments: Arguments) -> Any:
    subprocess.run([sys.executable, "-c", f"b'x' * {arguments['bytes']}"], check=True)


def leave_link(arguments: Arguments) -> Any:
    path = Path(arguments["path"])
    path.mkdir()
    (path / "0_0.npy").write_bytes(b"good")
    (path / "index.json").symlink_to("/etc/passwd")


def be_a_link(arguments: Arguments) -> Any:
    Path(arguments["path"]).symlink_to("/etc/passwd")


def leave_pipe(arguments: Arguments) -> Any:
    Path(arguments["path"]).mkdir()
    os.mkfifo(Path(arguments["path"]) / "pipe")


def leave_hole(arguments: Arguments) -> Any:
    """Leave a file that is larger than any disk and takes no room."""
    with Path(arguments["path"]).open("wb") as file:
        file.truncate(arguments["bytes"])


def forge_result(arguments: Arguments) -> Any:
    """Leave a result that leads elsewhere."""
    Path("result.json").symlink_to("/etc/passwd")
    os._exit(0)


def attack_first_process(arguments: Arguments) -> Any:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with contextlib.suppress(PermissionError):  # of Landlock
            os.kill(1, number)
    return "sent"


def write_while_sleeping(arguments: Arguments) -> Any:
    os.write(1, f"{arguments['text']}\n".encode())
    time.sleep(60)


TASKS: dict[str, Callable[[Arguments], Any]] = {
    **importlib.import_module("misbehaviour").TASKS,
    **{
        task.__name__: task
        for task in (
            alter,
            attack_first_process,
            be_a_link,
            connect,
            copy,
            fail_with_grandchild,
            forge_result,
            inside,
            leave_hole,
            leave_link,
            leave_pipe,
            multiply,
            write_while_sleeping,
        )
    },
}
