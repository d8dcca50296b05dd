"""Workers that outlive their tasks: what the next one finds, what it may open, and when there's a new worker."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from navigator.workers import landlock
from navigator.workers.local.pool import ForkServer, Task, TaskStatus
from navigator.workers.task import Lasting

MakeTask = Callable[..., Task]
Start = Callable[..., ForkServer]
Gone = Callable[[list[int]], bool]
PidsIn = Callable[[Path], list[int]]


@pytest.fixture
def lasting(tmp_path: Path) -> Lasting:
    for name in ("worker", "read", "written", "others"):
        (tmp_path / name).mkdir()
    return Lasting(
        name=str(tmp_path), directory=tmp_path / "worker", reads=(tmp_path / "read",), writes=(tmp_path / "written",)
    )


@pytest.fixture
def shared(task: MakeTask, lasting: Lasting) -> MakeTask:
    """Make a task of that worker."""

    def make(name: str, **arguments: Any) -> Task:
        made = task(name, **arguments)
        directory = lasting.directory / made.directory.name
        return replace(made, directory=directory, writes=(directory,), lasting=lasting)

    return make


def pid_of(server: ForkServer, task: Task) -> int:
    result = server.run(task)
    assert result.status is TaskStatus.FINISHED, result
    value: Any = result.value
    return int(value["pid"])


def test_tasks_share_a_process(server: ForkServer, task: MakeTask, shared: MakeTask) -> None:
    first, second = shared("surroundings"), replace(shared("surroundings"), variables={"CUDA_CACHE_DISABLE": "1"})
    pid = pid_of(server, first)
    found: Any = server.run(second).value
    assert found["pid"] == pid
    assert pid_of(server, task("surroundings")) != pid, "other tasks have their own"
    assert found["environment"]["CUDA_CACHE_DISABLE"] == "1"
    assert found["directory"] == str(second.directory)
    assert found["stdout"] == found["stderr"] == str(second.log_path)
    assert len(found["descriptors"]) <= 2, "logs of earlier tasks are closed"


def test_each_task_has_its_own_log(server: ForkServer, shared: MakeTask) -> None:
    first, second = shared("shout", bytes=0, crash=False), shared("shout", bytes=0, crash=False)
    for each in (first, second):
        assert server.run(each).value == "said"
        assert each.log_path.read_text().count("=" * 40) == 1
        assert "shout" in each.log_path.read_text()


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("failing", {"text": "CUDA error: an illegal memory access was encountered"}, TaskStatus.FAILED),
        ("step_error", {}, TaskStatus.FAILED),
        ("segfault", {}, TaskStatus.CRASHED),
        ("abort", {}, TaskStatus.CRASHED),
        ("sys_exit", {"code": 0}, TaskStatus.CRASHED),
        ("half_result", {}, TaskStatus.CRASHED),
        ("no_result_possible", {}, TaskStatus.CRASHED),
        ("allocate", {"bytes": 2**20, "timeout": 0.3}, TaskStatus.TIMED_OUT),
        ("allocate", {"bytes": 2**28, "memory": 2**27}, TaskStatus.CRASHED),
    ],
)
def test_a_task_that_fails_ends_its_worker_alone(
    server: ForkServer,
    shared: MakeTask,
    gone: Gone,
    name: str,
    arguments: dict[str, Any],
    status: TaskStatus,
) -> None:
    before = pid_of(server, shared("surroundings"))
    assert server.run(shared(name, **arguments)).status is status
    after = pid_of(server, shared("surroundings"))
    assert after != before
    assert gone([before])
    assert pid_of(server, shared("surroundings")) == after, "the new one lasts too"


def test_a_worker_that_is_busy_is_not_waited_for(server: ForkServer, shared: MakeTask, lasting: Lasting) -> None:
    directory = str(lasting.directory)
    tasks = (
        shared("meet", directory=directory, me="a", other="b"),
        shared("meet", directory=directory, me="b", other="a"),
    )
    with ThreadPoolExecutor(2) as threads:
        pids = {result.value for result in threads.map(server.run, tasks)}
    assert len(pids) == 2
    assert pid_of(server, shared("surroundings")) in pids


def test_a_task_ends_with_all_that_it_started(server: ForkServer, shared: MakeTask, gone: Gone) -> None:
    worker = pid_of(server, shared("surroundings"))
    for name in ("leave_grandchild", "leave_daemon"):
        left: Any = server.run(shared(name)).value
        assert gone([left])
    assert pid_of(server, shared("surroundings")) == worker


def test_it_waits_no_longer_than_its_server(start: Start, shared: MakeTask, gone: Gone) -> None:
    server = start()
    worker = pid_of(server, shared("surroundings"))
    assert not gone([worker])
    server.close()
    assert gone([worker])


def test_one_that_died_while_nobody_used_it_is_replaced(server: ForkServer, shared: MakeTask, gone: Gone) -> None:
    worker = pid_of(server, shared("surroundings"))
    os.kill(worker, 9)
    assert gone([worker])
    assert pid_of(server, shared("surroundings")) != worker


def test_cancelling_ends_its_task(start: Start, shared: MakeTask, pids_in: PidsIn, gone: Gone, tmp_path: Path) -> None:
    server = start()
    pid_of(server, shared("surroundings"))
    pids = tmp_path / "written" / "pids"
    results = []
    thread = threading.Thread(target=lambda: results.append(server.run(shared("hang", pids=str(pids)))))
    thread.start()
    worker, parent, *others = pids_in(pids)
    server.cancel()
    thread.join(20)
    assert results[0].status is TaskStatus.CANCELLED
    assert gone([worker, parent, *others])


def test_it_measures_each_task(server: ForkServer, shared: MakeTask) -> None:
    slow, quick = server.run(shared("allocate", bytes=2**28, seconds=2)), server.run(shared("echo"))
    assert quick.seconds < 2 <= slow.seconds
    assert slow.peak_memory_bytes >= quick.peak_memory_bytes + 2**27


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel has no Landlock, or an old one")
def test_it_opens_what_its_tasks_may_open_and_nothing_else(
    server: ForkServer, shared: MakeTask, tmp_path: Path
) -> None:
    def attempt(*statements: str) -> Any:
        return server.run(shared("attempt", statements=[each.replace("~", str(tmp_path)) for each in statements])).value

    for _ in range(2):
        (tmp_path / "read" / "made since").write_text("x")
        assert attempt(
            "Path('~/read/made since').read_bytes()",
            "Path('~/written/file').write_bytes(b'x')",
            "Path('result').write_bytes(b'x')",
        ) == ["", "", ""]
        assert (
            attempt(
                "Path('~/read/file').write_bytes(b'x')",
                "os.listdir('~/others')",
                "Path('~/others/file').write_bytes(b'x')",
            )
            == ["Permission denied"] * 3
        )
