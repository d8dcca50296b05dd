"""A parent that is killed with SIGKILL leaves no process behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

Gone = Callable[[list[int]], bool]
PidsIn = Callable[[Path], list[int]]

PARENT = """
import os, sys
from pathlib import Path
from navigator.workers.local.pool import ForkServer, Task
directory = Path(sys.argv[1])
server = ForkServer(preload=sys.argv[3:], directory=directory, tasks_module="misbehaviour")
server.run(Task(name="hang", arguments={"pids": sys.argv[2], "daemon": True}, directory=directory / "task",
                log_path=directory / "log", timeout_seconds=60, memory_limit_bytes=2**32, writes=(directory.parent,)))
"""


def _parent(tmp_path: Path, *preload: str, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[2]
    paths = f"{root}{os.pathsep}{Path(__file__).parent}"
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "parent"), str(tmp_path / "pids"), *preload],
        env=environment or {**os.environ, "PYTHONPATH": paths},
        cwd=root,
    )


def test_nothing_outlives_a_killed_parent(tmp_path: Path, gone: Gone, pids_in: PidsIn) -> None:
    with _parent(tmp_path) as parent:
        pids = pids_in(tmp_path / "pids")
        assert len(pids) == 4
        parent.kill()
    assert gone(pids), "server, child, its child and its daemon"


def test_nothing_outlives_a_parent_killed_while_importing(
    tmp_path: Path, gone: Gone, pids_in: PidsIn, importable: Callable[[str], dict[str, str]]
) -> None:
    importing = tmp_path / "importing"
    environment = importable(
        f"import os, pathlib, time\npathlib.Path({str(importing)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    with _parent(tmp_path, "preloaded", environment=environment) as parent:
        pids = pids_in(importing)
        assert psutil.pid_exists(pids[0])
        parent.kill()
    assert gone(pids)


def test_no_child_outlives_parent_and_server_killed_together(tmp_path: Path, gone: Gone, pids_in: PidsIn) -> None:
    with _parent(tmp_path) as parent:
        child, server, *others = pids_in(tmp_path / "pids")
        os.kill(server, signal.SIGSTOP)  # so that it cannot clean up
        parent.kill()
        os.kill(server, signal.SIGKILL)
    try:
        assert gone([server, child])
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
