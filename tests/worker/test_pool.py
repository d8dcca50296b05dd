"""The fork server's life: start, imports, tasks side by side, cancelling, the end of the parent."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from navigator.workers.local.pool import ForkServer, Task, TaskResult, TaskStatus

Start = Callable[..., ForkServer]
MakeTask = Callable[..., Task]
Run = Callable[..., TaskResult]
Gone = Callable[[list[int]], bool]
PidsIn = Callable[[Path], list[int]]


@pytest.fixture
def sleeper() -> Iterator[Callable[[ForkServer, Task], list[TaskResult]]]:
    """Run a task in a thread; the list gets its result."""
    threads = []

    def begin(server: ForkServer, task: Task) -> list[TaskResult]:
        results: list[TaskResult] = []
        thread = threading.Thread(target=lambda: results.append(server.run(task)))
        threads.append(thread)
        thread.start()
        return results

    yield begin
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_starting_does_not_wait_for_imports(
    start: Start, task: MakeTask, importable: Callable[[str], dict[str, str]]
) -> None:
    environment = importable("import time\ntime.sleep(1)\nprint('hello from the import')")
    server = start(preload=("preloaded",), environment=environment)
    made = task("echo", a=1, timeout=0.9)
    result = server.run(made)
    assert result.status is TaskStatus.FINISHED, "the time of the imports is not the task's"
    assert result.seconds < 0.9
    assert "hello from the import" not in made.log_path.read_text()


def test_imports_print_into_the_servers_log(
    start: Start,
    task: MakeTask,
    importable: Callable[[str], dict[str, str]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = start(preload=("preloaded",), environment=importable("import os\nos.write(2, b'banner of the driver\\n')"))
    assert server.run(task("echo")).status is TaskStatus.FINISHED
    assert "banner of the driver" in (tmp_path / "server" / "server.log").read_text()
    assert capfd.readouterr() == ("", "")


def test_import_that_fails(start: Start, task: MakeTask, importable: Callable[[str], dict[str, str]]) -> None:
    environment = importable("raise ImportError('libcudart.so.13: cannot open shared object file')")
    server = start(preload=("preloaded",), environment=environment)
    for made in (task("echo"), task("echo")):
        result = server.run(made)
        assert result.status is TaskStatus.FAILED
        assert result.message == (
            "can't import preloaded: ImportError: libcudart.so.13: cannot open shared object file"
        )
        assert result.remedy == f"reinstall that package; see {made.log_path}"
        assert "Traceback" in made.log_path.read_text(), "the task's own log shows the server's"


@pytest.mark.parametrize(
    ("text", "outcome", "message"),
    [
        ("import sys\nsys.exit(3)", TaskStatus.FAILED, "can't import preloaded: SystemExit: 3"),
        (
            "import os\nprint('no AVX')\nos.abort()",
            TaskStatus.CRASHED,
            "the worker server died while importing preloaded: crashed with SIGABRT (aborted); last output: no AVX",
        ),
        (
            "import os\nos._exit(0)",
            TaskStatus.CRASHED,
            "the worker server died while importing preloaded: ended with exit code 0",
        ),
    ],
)
def test_import_that_ends_the_server(
    start: Start,
    task: MakeTask,
    importable: Callable[[str], dict[str, str]],
    text: str,
    outcome: TaskStatus,
    message: str,
) -> None:
    server = start(preload=("preloaded",), environment=importable(text))
    for _ in range(2):
        result = server.run(task("echo"))
        assert (result.status, result.message) == (outcome, message)


def test_import_that_hangs(start: Start, task: MakeTask, importable: Callable[[str], dict[str, str]]) -> None:
    environment = importable("import time\ntime.sleep(1000)")
    server = start(preload=("preloaded",), environment=environment, import_timeout_seconds=2)
    result = server.run(task("echo"))
    assert result.status is TaskStatus.CRASHED
    assert result.message == "importing preloaded didn't finish within 2 s"


def test_server_log_that_cannot_be_written(start: Start, task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = start(directory=tmp_path / "file").run(task("echo"))
    assert result.status is TaskStatus.CRASHED
    assert "can't start the worker server" in result.message
    assert str(tmp_path / "file") in result.message


def test_relative_paths_of_a_task_are_those_of_the_parent(
    run: Run, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Task(
        name="surroundings",
        arguments={},
        directory=Path("scratch"),
        log_path=Path("logs/a.log"),
        timeout_seconds=20,
        memory_limit_bytes=2**32,
    )
    result = server.run(made)
    assert result.status is TaskStatus.FINISHED
    found: Any = result.value
    assert found["directory"] == str(tmp_path / "scratch")
    assert (tmp_path / "logs" / "a.log").exists()


def test_what_surrounds_a_child(server: ForkServer, task: MakeTask) -> None:
    made = task("surroundings")
    found: Any = server.run(made).value
    assert found["pid"] == found["group"] == found["session"]
    assert found["directory"] == str(made.directory)
    assert found["stdin"] == "/dev/null"
    assert found["stdout"] == found["stderr"] == str(made.log_path)
    assert found["oom_score_adj"] == 1000
    assert found["core_limit"] == 0
    assert found["handlers"] == [signal.SIG_DFL] * 3
    assert not [target for target in found["descriptors"] if target.startswith("socket")], "no way to the parent"


def test_tasks_run_side_by_side(server: ForkServer, task: MakeTask, tmp_path: Path) -> None:
    """Each pair can only end if both run at the same time; twenty times, one after the other."""
    with ThreadPoolExecutor(2) as threads:
        for number in range(20):
            directory = tmp_path / f"meeting{number}"
            directory.mkdir()
            pair = [
                threads.submit(server.run, task("meet", directory=str(directory), me=me, other=other))
                for me, other in (("a", "b"), ("b", "a"))
            ]
            results = [future.result(20) for future in pair]
            assert [result.status for result in results] == [TaskStatus.FINISHED] * 2
            assert results[0].value != results[1].value


def test_many_threads_get_their_own_results(server: ForkServer, task: MakeTask) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: server.run(task("echo", number=number)), range(40)))
    assert [result.value for result in results] == [{"number": number} for number in range(40)]


def test_one_task_that_crashes_leaves_the_others_alone(
    server: ForkServer, task: MakeTask, sleeper: Callable[[ForkServer, Task], list[TaskResult]]
) -> None:
    results = sleeper(server, task("allocate", bytes=1, seconds=0.5))
    assert server.run(task("segfault")).status is TaskStatus.CRASHED
    assert server.run(task("leave_daemon")).status is TaskStatus.FINISHED
    assert until(lambda: results)
    assert results[0].status is TaskStatus.FINISHED


def test_a_daemon_belongs_to_the_task_that_started_it(
    server: ForkServer, task: MakeTask, tmp_path: Path, sleeper: Callable[[ForkServer, Task], list[TaskResult]]
) -> None:
    results = sleeper(server, task("use_daemon", directory=str(tmp_path)))
    assert until((tmp_path / "started").exists)
    assert server.run(task("leave_daemon")).status is TaskStatus.FINISHED
    (tmp_path / "other task ended").touch()
    assert until(lambda: results)
    assert results[0].value is True, "another task's end has not killed it"


def test_cancelled_workers_end_with_their_descendants(
    start: Start,
    task: MakeTask,
    tmp_path: Path,
    gone: Gone,
    pids_in: PidsIn,
    sleeper: Callable[[ForkServer, Task], list[TaskResult]],
) -> None:
    server = start()
    running = [sleeper(server, task("hang", pids=str(tmp_path / name), daemon=True)) for name in ("a", "b")]
    pids = pids_in(tmp_path / "a") + pids_in(tmp_path / "b")
    server.cancel()
    assert until(lambda: all(running))
    assert [(results[0].status, results[0].message) for results in running] == [(TaskStatus.CANCELLED, "cancelled")] * 2
    assert server.run(task("echo")).status is TaskStatus.CANCELLED
    assert gone(pids), "the server too: nothing can be run on it any more"


def test_cancel_while_importing(
    start: Start,
    task: MakeTask,
    importable: Callable[[str], dict[str, str]],
    sleeper: Callable[[ForkServer, Task], list[TaskResult]],
) -> None:
    server = start(preload=("preloaded",), environment=importable("import time\ntime.sleep(1000)"))
    results = sleeper(server, task("echo"))
    time.sleep(0.2)
    server.cancel()
    assert until(lambda: results, 2)
    assert results[0].status is TaskStatus.CANCELLED


def test_cancel_in_a_signal_handler(start: Start, task: MakeTask) -> None:
    """Ctrl-C comes while the main thread waits for a task."""
    server = start()
    assert server.run(task("echo")).status is TaskStatus.FINISHED
    before = signal.signal(signal.SIGALRM, lambda *_: server.cancel())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        result = server.run(task("allocate", bytes=1))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert result.status is TaskStatus.CANCELLED


def test_close_ends_everything(
    start: Start,
    task: MakeTask,
    tmp_path: Path,
    gone: Gone,
    pids_in: PidsIn,
    sleeper: Callable[[ForkServer, Task], list[TaskResult]],
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    server = start()
    results = sleeper(server, task("hang", pids=str(tmp_path / "pids"), daemon=True))
    pids = pids_in(tmp_path / "pids")
    server.close()
    assert gone(pids)
    assert until(lambda: results)
    assert results[0].status is TaskStatus.CANCELLED
    server.close()
    assert server.run(task("echo")).status is TaskStatus.CANCELLED
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208 - a count
