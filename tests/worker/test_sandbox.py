"""What a worker may open: what its task names, its own directory and libraries; and nobody to talk to."""

import _ctypes
import ctypes
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from navigator.workers import landlock, processes, sandbox
from navigator.workers.local.pool import ForkServer, Task, TaskStatus

MakeTask = Callable[..., Task]
Attempt = Callable[..., list[str]]

DENIED = "Permission denied"

pytestmark = pytest.mark.skipif(landlock.version() < 6, reason="this kernel has no Landlock, or an old one")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with files to read, to write and of others."""
    for name in ("read", "written", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path


@pytest.fixture
def attempt(server: ForkServer, task: MakeTask, place: Path) -> Attempt:
    """Run statements as a task that reads `read` and writes `written`; return the system's error of each, or ""."""

    def run(*statements: str) -> list[str]:
        made = task("attempt", statements=[each.replace("~", str(place)) for each in statements])
        result = server.run(replace(made, reads=(place / "read",), writes=(place / "written",)))
        assert result.status is TaskStatus.FINISHED, result
        found: Any = result.value
        assert isinstance(found, list)
        return found

    return run


def test_what_the_task_names_can_be_opened(attempt: Attempt, place: Path) -> None:
    statements = (
        "Path('~/read/file').read_bytes()",
        "os.listdir('~/read')",
        "Path('~/written/file').write_bytes(b'x')",
        "Path('~/written/inner').mkdir()",
        "Path('~/written/file').rename('~/written/inner/file')",
        "os.truncate('~/written/inner/file', 0)",
        "os.remove('~/written/inner/file')",
        "Path('own').write_bytes(b'x')",
    )
    assert attempt(*statements) == [""] * len(statements)
    assert [path.name for path in (place / "written").iterdir()] == ["inner"]


@pytest.mark.fault(
    "A model writes into its reference, another model's results or the user's files",
    "The kernel refuses it, and the conversion fails.",
)
def test_nothing_else_can_be_opened(attempt: Attempt, place: Path) -> None:
    statements = (
        "Path('~/others/file').read_bytes()",
        "Path('~/others/file').write_bytes(b'x')",
        "open('~/others/file', 'ab')",
        "os.truncate('~/others/file', 0)",
        "os.remove('~/others/file')",
        "Path('~/others/new').write_bytes(b'x')",
        "Path('~/others/new').mkdir()",
        "os.rename('~/written/file', '~/others/file')",
        "os.rename('~/others/file', '~/written/stolen')",
        "os.link('~/others/file', '~/written/linked')",
        "Path('~/read/file').write_bytes(b'x')",
        "os.truncate('~/read/file', 0)",
        "os.remove('~/read/file')",
        "os.listdir('~')",
        "os.listdir('~/others')",
        "os.listdir(os.path.dirname(os.getcwd()))",
        "os.listdir('/')",
        "Path('/etc/hostname').write_bytes(b'x')",
        "Path('/proc/sys/kernel/core_pattern').write_bytes(b'x')",
        "os.execv('~/read/file', ['x'])",
    )
    found = attempt(*statements)
    # What can't be linked or moved to another directory is another device's for the kernel.
    assert set(found) <= {DENIED, "Invalid cross-device link"}, dict(zip(statements, found, strict=True))
    assert (place / "others" / "file").read_text() == "others"
    assert (place / "read" / "file").read_text() == "read"


def test_a_link_opens_nothing(attempt: Attempt, place: Path) -> None:
    (place / "read" / "link").symlink_to("../others/file")
    (place / "written" / "link").symlink_to("../others/file")
    statements = (
        "Path('~/read/link').read_bytes()",
        "Path('~/written/link').write_bytes(b'x')",
        "os.symlink('/etc', '~/written/new')",
        "os.mkfifo('~/written/pipe')",
    )
    assert attempt(*statements) == [DENIED] * len(statements)
    assert (place / "others" / "file").read_text() == "others"


def test_a_named_link_opens_what_it_leads_to(server: ForkServer, task: MakeTask, place: Path) -> None:
    (place / "model").symlink_to("others/file")
    made = task("attempt", statements=[f"Path('{place}/model').read_bytes()", f"os.listdir('{place}/others')"])
    result = server.run(replace(made, reads=(place / "model",), writes=()))
    assert result.value == ["", DENIED]


def test_users_home_is_closed_and_has_a_stand_in(attempt: Attempt) -> None:
    home = Path.home()
    assert attempt(f"os.listdir('{home}')", f"Path('{home}/left').write_bytes(b'x')") == [DENIED, DENIED]
    statements = (
        "assert os.environ['HOME'] == os.environ['TMPDIR'] == os.getcwd() + '/tmp'",
        "import tempfile; tempfile.NamedTemporaryFile().write(b'x')",
        "Path.home().joinpath('.cache').mkdir()",
        "os.symlink('x', os.path.join(os.environ['TMPDIR'], 'link'))",
    )
    assert attempt(*statements) == [""] * len(statements)


def test_other_processes_are_out_of_reach(attempt: Attempt, place: Path) -> None:
    pid = os.getpid()
    statements = (
        f"os.kill({pid}, 0)",
        "os.kill(os.getppid(), 0)",
        f"Path('/proc/{pid}/environ').read_bytes()",
        f"open('/proc/{pid}/mem', 'rb')",
        f"os.readlink('/proc/{pid}/cwd')",
        f"open('/proc/{pid}/comm', 'wb').write(b'x')",
    )
    assert set(attempt(*statements)) <= {DENIED, "Operation not permitted"}
    assert attempt("import subprocess; subprocess.run(['sleep', '0'], check=True)", "os.kill(os.getpid(), 0)") == [
        "",
        "",
    ]


@pytest.fixture
def listening() -> Iterator[tuple[int, str, Path]]:
    """Listen on a port, on an abstract Unix socket and on one in the file system, whose path must be short."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as named:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(f"\0model-navigator-{os.getpid()}")
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            named.bind(f"{directory}/socket")
            for each in (tcp, unix, named):
                each.listen()
            yield tcp.getsockname()[1], unix.getsockname().decode(), Path(directory, "socket")


@pytest.mark.fault("A model opens a connection", "The kernel refuses it: workers have no network.")
def test_there_is_no_network(
    attempt: Attempt, listening: tuple[int, str, Path], server: ForkServer, task: MakeTask
) -> None:
    port, unix, unix_path = listening
    for made in (f"create_connection(('127.0.0.1', {port}), 1)", "socket(AF_INET, SOCK_DGRAM)", "socket(AF_INET6)"):
        assert attempt(f"from socket import *; {made}") == [DENIED]
    assert attempt(f"from socket import *; socket(AF_UNIX).connect({unix!r})") == [DENIED]
    assert attempt("import socket; a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'") == [""]
    statements = ["from socket import *; a, b = socket(AF_UNIX), socket(AF_INET)", "import socket; socket.socket()"]
    statements += [f"from socket import *; socket(AF_UNIX).connect({str(unix_path)!r})"]
    statements += ["from socket import *; a = socket(AF_UNIX); a.bind('tmp/own'); a.listen()"]
    on_gpu = replace(task("attempt", statements=statements), gpu="GPU-0")
    assert server.run(on_gpu).value == [DENIED, DENIED, DENIED, ""], "CUDA makes one"
    assert attempt("import ctypes; c = ctypes.CDLL(None); assert c.syscall(425, 1, 0) == -1") == [""], "io_uring"


def test_libraries_can_still_be_imported_and_run(attempt: Attempt) -> None:
    statements = (
        "import colorsys, sqlite3, numpy.fft",
        f"import subprocess; subprocess.run(['{sys.executable}', '-c', 'import json'], check=True)",
        "import multiprocessing; multiprocessing.Lock()",
        "import concurrent.futures as f; assert f.ProcessPoolExecutor(1).submit(abs, -1).result() == 1",
        "Path('/dev/null').write_bytes(b'x')",
        "Path('/proc/self/status').read_text()",
        "Path('/proc/self/task', str(os.getpid()), 'comm').write_text('named')",
        "os.listdir('/sys/devices/system/cpu')",
    )
    assert attempt(*statements) == [""] * len(statements)


def test_what_lies_beside_the_workspace_stays_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in /opt, where a runner's own files are, and in a checkout that is on PYTHONPATH."""
    system, checkout = tmp_path / "opt", tmp_path / "checkout"
    for directory in (system / "runner" / "work" / "task", system / "nvidia", checkout / "workspace" / "task"):
        directory.mkdir(parents=True)
    monkeypatch.setattr(sandbox, "_SYSTEM", (str(system),))
    monkeypatch.syspath_prepend(str(checkout))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "home")])

    def opened(workspace: Path) -> set[Path]:
        return set(sandbox._libraries(workspace, tmp_path / "home" / "user"))

    assert system / "nvidia" in opened(system / "runner" / "work" / "task")
    assert not {system, system / "runner"} & opened(system / "runner" / "work" / "task")
    assert system in opened(checkout / "workspace" / "task")
    assert checkout not in opened(checkout / "workspace" / "task")
    assert tmp_path / "home" not in opened(checkout / "workspace" / "task")
    assert Path(sandbox.__file__).parents[2] not in opened(checkout / "workspace" / "task"), (
        "a checkout of this package"
    )


def test_libraries_in_unusual_places_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("modules", "cuda", "linked", "python"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'linked'}:")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    shutil.copy(_ctypes.__file__, tmp_path / "python" / "copy.so")
    ctypes.CDLL(str(tmp_path / "python" / "copy.so"))
    opened = set(sandbox._libraries(Path("/workspace"), Path("/home/user")))
    assert {tmp_path / name for name in ("modules", "cuda", "linked", "python")} <= opened
    assert tmp_path not in opened
    assert Path.cwd() not in opened


def test_an_old_kernel_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []

    def refuse(number: int, *arguments: Any) -> int:
        calls.append((number, *arguments[:2]))
        raise AssertionError("nothing is to be called")

    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(landlock, "_call", refuse)
    assert landlock.restrict([(tmp_path, landlock.Access.READ)]) == 0
    assert not calls
    assert sandbox.shortcoming().startswith("this kernel has no Landlock")
    monkeypatch.setattr(landlock, "version", lambda: 2)
    assert "Linux 6.2" in sandbox.shortcoming()
    monkeypatch.setattr(landlock, "version", lambda: 3)
    assert sandbox.shortcoming() == ""


@pytest.mark.parametrize("known", range(1, 8))
def test_each_version_of_the_interface_is_asked_for_what_it_knows(known: int, tmp_path: Path) -> None:
    """In a child, with the rights of an older kernel: this one takes them all."""
    (tmp_path / "open").mkdir()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            landlock.version = lambda: known
            processes.renounce_privileges()
            landlock.restrict([(tmp_path / "open", landlock.Access.READ | landlock.Access.WRITE)])
            (tmp_path / "open" / "file").write_bytes(b"x")
            try:
                (tmp_path / "closed").write_bytes(b"x")
            except PermissionError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not (tmp_path / "closed").exists()


def test_nothing_of_the_sandbox_is_left_in_the_parent(attempt: Attempt, place: Path) -> None:
    attempt("pass")
    (place / "others" / "file").write_text("mine")
    shutil.rmtree(place / "others")
