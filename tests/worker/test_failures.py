"""The failure contract: whatever a task does, the right outcome and sentence, and the next task runs."""

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from navigator.workers.local import client
from navigator.workers.local.pool import ForkServer, Task, TaskResult, TaskStatus

Run = Callable[..., TaskResult]
Gone = Callable[[list[int]], bool]
PidsIn = Callable[[Path], list[int]]
MEBIBYTE = 2**20


def test_a_crash_is_named_with_the_last_output_and_its_stack_is_in_the_log(run: Run) -> None:
    result = run("segfault")
    assert result.status is TaskStatus.CRASHED
    assert result.message == "crashed with SIGSEGV (segmentation fault); last output: loading weights"
    assert result.remedy.startswith("see ")
    log = Path(result.remedy.removeprefix("see ")).read_text()
    assert "in segfault" in log, "the Python stack of the crash is in the log"


def test_what_c_code_printed_before_a_crash_is_kept(run: Run) -> None:
    result = run("segfault_after_printf")
    assert result.status is TaskStatus.CRASHED
    assert result.message.endswith("last output: from C without a flush")


def test_an_abort_is_a_crash_with_its_signal(run: Run) -> None:
    result = run("abort")
    assert result.status is TaskStatus.CRASHED
    assert result.message == "crashed with SIGABRT (aborted)"


def test_a_worker_that_allocates_more_than_its_limit_is_killed(run: Run) -> None:
    result = run("allocate", bytes=400 * MEBIBYTE, memory=200 * MEBIBYTE)
    assert result.status is TaskStatus.CRASHED
    assert result.message.startswith("out of memory: used 0.")
    assert result.message.endswith(" of 0.20 GiB allowed")
    assert "memory_limit_bytes" in result.remedy
    assert result.seconds < 5
    assert result.peak_memory_bytes > 200 * MEBIBYTE


def test_too_little_memory_is_said_before_the_worker_is_killed(run: Run) -> None:
    result = run("require", bytes=300 * MEBIBYTE, memory=200 * MEBIBYTE)
    assert result.status is TaskStatus.FAILED
    assert re.fullmatch(r"the test needs about 0\.3 GB of memory, but only 0\.[12] GB is available", result.message)
    assert "memory_limit_bytes" in result.remedy


def test_memory_of_descendants_counts(run: Run) -> None:
    result = run("allocate_in_grandchild", bytes=400 * MEBIBYTE, memory=200 * MEBIBYTE)
    assert result.status is TaskStatus.CRASHED
    assert result.message.startswith("out of memory: used 0.")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not say what is shared")
def test_memory_shared_by_fork_counts_once(run: Run) -> None:
    result = run("share_with_forks", bytes=150 * MEBIBYTE, memory=300 * MEBIBYTE)
    assert result.status is TaskStatus.FINISHED, result.message
    assert result.peak_memory_bytes > 4 * 150 * MEBIBYTE, "so the cheap bound was over the limit"


def test_a_worker_may_use_the_memory_below_its_limit(run: Run) -> None:
    result = run("allocate", bytes=100 * MEBIBYTE, memory=200 * MEBIBYTE, seconds=0.3)
    assert result.status is TaskStatus.FINISHED
    assert 100 * MEBIBYTE < result.peak_memory_bytes < 200 * MEBIBYTE


def test_a_kill_from_outside_is_most_likely_the_kernels_for_memory(run: Run) -> None:
    result = run("kill_self")
    assert result.status is TaskStatus.CRASHED
    assert result.message.startswith("killed by signal 9, most likely out of memory (peak 0.0")


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("way", ["exit_without_result", "sys_exit"])
def test_an_exit_without_a_result_is_a_crash_with_any_code(run: Run, way: str, code: int) -> None:
    result = run(way, code=code)
    assert result.status is TaskStatus.CRASHED
    assert result.message == f"ended with exit code {code} without a result"


@pytest.mark.parametrize("what", ["half_result", "foreign_result"])
def test_half_a_result_or_a_foreign_one_is_a_crash(run: Run, what: str) -> None:
    result = run(what)
    assert result.status is TaskStatus.CRASHED
    assert result.value is None
    assert result.message == "left a damaged result (ended with exit code 0)"


def test_a_written_result_counts_whatever_comes_after(run: Run) -> None:
    result = run("segfault_after_result")
    assert result.status is TaskStatus.FINISHED
    assert result.value == "written before"


def test_a_worker_that_hangs_is_stopped_with_its_descendants_at_the_deadline(
    run: Run, tmp_path: Path, gone: Gone, pids_in: PidsIn
) -> None:
    result = run("hang", timeout=0.5, pids=str(tmp_path / "pids"), daemon=True)
    assert result.status is TaskStatus.TIMED_OUT
    assert result.message == "stopped after 0.5 s"
    assert result.remedy == "increase timeout_seconds"
    assert 0.5 <= result.seconds < 2
    worker, _, grandchild, daemon = pids_in(tmp_path / "pids")
    assert gone([worker, grandchild, daemon])


@pytest.mark.parametrize("what", ["leave_grandchild", "leave_daemon"])
def test_descendants_end_with_the_task(run: Run, gone: Gone, what: str) -> None:
    result = run(what)
    assert result.status is TaskStatus.FINISHED
    assert result.seconds < 2, "nobody waits for a descendant, though it holds the log open"
    pid: Any = result.value
    assert gone([pid])


def test_descendants_of_a_crashed_task_are_ended(run: Run, tmp_path: Path, gone: Gone, pids_in: PidsIn) -> None:
    result = run("crash_leaving_daemon", pids=str(tmp_path / "pids"))
    assert result.status is TaskStatus.CRASHED
    assert result.message.startswith("crashed with SIGABRT (aborted)")
    assert gone(pids_in(tmp_path / "pids"))


def test_a_step_error_is_a_failure_with_its_remedy(run: Run) -> None:
    result = run("step_error")
    assert result.status is TaskStatus.FAILED
    assert result.message == "the model has a string input 'text'"
    assert result.remedy == "convert the part after the lookup table"


def test_any_other_exception_is_a_failure_with_its_first_line(
    run: Run, task: Callable[..., Task], server: ForkServer
) -> None:
    made = task("failing", text="\nno kernel for node 7\nsecond line")
    result = server.run(made)
    assert result.status is TaskStatus.FAILED
    assert result.message == "RuntimeError: no kernel for node 7"
    assert "Traceback" in made.log_path.read_text()
    assert len(run("failing", text="x" * 10000).message) < 600


def test_a_memory_error_is_a_failure_for_memory(run: Run) -> None:
    result = run("out_of_memory_error")
    assert result.status is TaskStatus.FAILED
    assert result.message.startswith("not enough memory")


def test_an_exception_without_text_has_the_name_of_its_class(run: Run) -> None:
    result = run("unprintable")
    assert result.status is TaskStatus.FAILED
    assert result.message == "UnprintableError"


def test_an_unknown_task_fails_with_those_that_there_are(run: Run) -> None:
    result = run("ehco")
    assert result.status is TaskStatus.FAILED
    assert result.message == "no task is called 'ehco'"
    assert "echo" in result.remedy


def test_a_value_that_is_not_json_is_a_failure(run: Run) -> None:
    result = run("unserialisable")
    assert result.status is TaskStatus.FAILED
    assert result.message == (
        "the task returned a value that isn't JSON: TypeError: Object of type object is not JSON serializable"
    )


def test_arguments_that_are_not_json_are_a_failure(run: Run) -> None:
    result = run("echo", path=Path("a"))
    assert result.status is TaskStatus.FAILED
    assert "aren't JSON" in result.message


def test_of_a_huge_log_only_the_end_is_shown(run: Run) -> None:
    result = run("shout", bytes=50 * 10**6, crash=True)
    assert result.status is TaskStatus.CRASHED
    assert "last output: node 17 is not supported ..." in result.message
    assert len(result.message) < 400
    assert run("shout", bytes=50 * 10**6, crash=False).value == "said"


def test_a_full_disk_is_named(server: ForkServer, task: Callable[..., Task]) -> None:
    made = task("echo")
    made.directory.mkdir()
    (made.directory / "result.json.tmp").symlink_to("/dev/full")
    result = server.run(made)
    assert result.status is TaskStatus.FULL_DISK
    assert re.match(r"the disk at /.* is full.* \(.* free\)$", result.message)
    assert result.remedy == "free up disk space, then run again"


def test_not_even_the_failure_can_be_written(run: Run) -> None:
    result = run("no_result_possible")
    assert result.status is TaskStatus.CRASHED
    assert re.match(r"couldn't write its result to /.*; last output: IsADirectoryError", result.message)


def test_directory_that_cannot_be_written(run: Run, server: ForkServer, task: Callable[..., Task]) -> None:
    made = task("echo")
    made.directory.write_text("a file")
    result = server.run(made)
    assert result.status is TaskStatus.FAILED
    assert result.message == f"can't write {made.directory}: File exists"
    assert run("echo").status is TaskStatus.FINISHED


def test_stale_result_is_not_taken(run: Run, server: ForkServer, task: Callable[..., Task]) -> None:
    made = task("abort")
    made.directory.mkdir()
    (made.directory / "result.json").write_text('{"ok": true, "value": "of an earlier task"}')
    assert server.run(made).status is TaskStatus.CRASHED
    assert run("echo").status is TaskStatus.FINISHED


def test_server_killed_while_a_task_runs(
    start: Callable[..., ForkServer], task: Callable[..., Task], tmp_path: Path, gone: Gone, pids_in: PidsIn
) -> None:
    server = start()
    with ThreadPoolExecutor() as threads:
        running = threads.submit(server.run, task("hang", pids=str(tmp_path / "pids"), daemon=True))
        child, pid, *others = pids_in(tmp_path / "pids")
        os.kill(pid, signal.SIGKILL)
        result = running.result(20)
    assert result.status is TaskStatus.CRASHED
    assert result.message == "the worker server died: killed by signal 9, most likely out of memory"
    assert gone([child, *others]), "neither the child nor what it started outlives the server"
    assert server.run(task("echo")).status is TaskStatus.CRASHED


def test_server_that_stops_answering(
    start: Callable[..., ForkServer],
    task: Callable[..., Task],
    tmp_path: Path,
    pids_in: PidsIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_GRACE_SECONDS", 0.5)
    server = start()
    with ThreadPoolExecutor() as threads:
        running = threads.submit(server.run, task("hang", timeout=0.5, pids=str(tmp_path / "pids")))
        os.kill(pids_in(tmp_path / "pids")[1], signal.SIGSTOP)
        result = running.result(20)
    assert result.status is TaskStatus.CRASHED
    assert result.message == "the worker server stopped answering"
    assert server.run(task("echo")).message == "the worker server stopped answering"


def test_signals_of_the_terminal_do_not_end_it(run: Run) -> None:
    surroundings: Any = run("surroundings").value
    assert os.getsid(surroundings["server"]) == surroundings["server"], "a session of its own: no Ctrl-C comes"
    os.kill(surroundings["server"], signal.SIGINT)
    assert run("echo").status is TaskStatus.FINISHED
