"""Sentences about ends that are hard to bring about on purpose, and what counts as a log's last words."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from navigator.workers.ending import describe_status, last_line
from navigator.workers.task import Exit, ExitReason, Task, TaskResult, TaskStatus, judge

TENSORFLOW = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795451226.112632   12698 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795451228.191098   12698 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error
"""
CRASH = """\
Fatal Python error: Segmentation fault

Current thread 0x00007f64c33b4350 (most recent call first):
  File "convert.py", line 7 in convert
Extension modules: numpy (total: 1)
"""


def test_process_that_cannot_be_started(tmp_path: Path) -> None:
    task = Task(
        name="convert",
        arguments={},
        directory=tmp_path,
        log_path=tmp_path / "log",
        timeout_seconds=1,
        memory_limit_bytes=1,
    )
    ended = Exit(reason=ExitReason.NOT_STARTED, detail="[Errno 11] Resource temporarily unavailable")
    result = judge(task, ended, log_start=0)
    assert result.status is TaskStatus.FAILED
    assert result.message == "can't start a process: [Errno 11] Resource temporarily unavailable"
    assert result.remedy


def test_a_crash_that_says_out_of_memory_is_the_gpus_only_if_the_task_has_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("terminate called after throwing an instance of 'E'\n  what():  Cuda Runtime (out of memory)\n")
    (tmp_path / "task").mkdir()

    def judged(gpu: str) -> TaskResult:
        task = Task(
            name="convert",
            arguments={},
            directory=tmp_path / "task",
            log_path=log,
            timeout_seconds=1,
            memory_limit_bytes=1,
            gpu=gpu,
        )
        return judge(task, Exit(reason=ExitReason.EXITED, status=-6), log_start=0)

    with_one = judged("GPU-1")
    assert with_one.status is TaskStatus.FAILED
    assert with_one.message == "crashed with SIGABRT (aborted): it needs more memory than is free on the GPU"
    assert "nvidia-smi" in with_one.remedy
    without = judged("")
    assert without.status is TaskStatus.CRASHED
    assert "GPU" not in without.message + without.remedy


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit code 0"),
        (-7, "crashed with SIGBUS (bus error)"),
        (-4, "crashed with SIGILL (illegal instruction)"),
        (-9, "killed by signal 9, most likely out of memory"),
        (-11, "crashed with SIGSEGV (segmentation fault)"),
        (-15, "killed by SIGTERM (terminated)"),
        (137, "ended with exit code 137 (killed by signal 9, most likely out of memory)"),
        (139, "ended with exit code 139 (crashed with SIGSEGV (segmentation fault))"),
        (-40, "crashed with signal 40 (real-time signal 6)"),
    ],
)
def test_status_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("=== convert, 2026-11-23 16:27:08 UTC, process 12927\n", ""),
        (f"{TENSORFLOW}\n\n", ""),
        (f"{TENSORFLOW}F0000 00:00:1 1 stub.cc:49] symbol not found\n", "F0000 00:00:1 1 stub.cc:49] symbol not found"),
        (f"reading weights\n{TENSORFLOW}-----\n{CRASH}", "reading weights"),
        ("50%\r\x1b[32m99%\x1b[0m", "99%"),
        ("y" * 300, "y" * 200 + "…"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
    ],
)
def test_the_last_words_of_a_log_are_its_last_line_that_says_something(
    tmp_path: Path, log: str | bytes, words: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"of an earlier task\n" + (log if isinstance(log, bytes) else log.encode()))
    assert last_line(path, 19) == words


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


LEFT: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "endless file behind a link": lambda path: path.symlink_to("/dev/zero"),
    "own file behind a link": lambda path: path.symlink_to("/etc/hostname"),
    "directory": Path.mkdir,
    "terabyte": _sparse,
    "deep lists": lambda path: path.write_bytes(b"[" * 10**6),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("left", LEFT)
def test_result_that_is_no_file_of_a_task(tmp_path: Path, left: str) -> None:
    directory = tmp_path / "task"
    directory.mkdir()
    LEFT[left](directory / "result.json")
    task = Task(
        name="convert",
        arguments={},
        directory=directory,
        log_path=tmp_path / "log",
        timeout_seconds=1,
        memory_limit_bytes=1,
    )
    result = judge(task, Exit(reason=ExitReason.EXITED), log_start=0)
    assert result.status is TaskStatus.CRASHED
    words = {
        "pipe": "can't read its result: not a regular file",
        "directory": "can't read its result: not a regular file",
        "terabyte": "left a result of 1024.00 GiB, more than a task ever writes",
        "deep lists": "left a damaged result (ended with exit code 0)",
    }
    assert result.message == words.get(left, "can't read its result: a symbolic link or behind one")


@pytest.mark.timeout(20)
def test_log_that_is_a_pipe_has_no_last_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert last_line(tmp_path / "log", 0) == ""


ABSL = """\
*** SIGABRT received at time=1790000000 on cpu 1 ***
PC: @     0x7f5e1a2a9eec  (unknown)  (unknown)
    @     0x7f5e1a25afb2       4768  (unknown)
    @ ... and at least 3 more frames
"""
C10 = """\
terminate called after throwing an instance of 'c10::Error'
  what():  CUDA error: device-side assert triggered
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.

Exception raised from c10_cuda_check_implementation at CUDAException.cpp:43 (most recent call first):
frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x96 (0x7f4a in /lib/libc10.so)
frame #1: <unknown function> + 0x5f8f0 (0x7f4a in /lib/libc10_cuda.so)
"""
GLOG = """\
F20261130 02:00:00.000000 12 planner.cc:49] Check failed: size > 0 (0 vs. 0)
*** Check failure stack trace: ***
    @     0x7f5e1a2a9eec  google::LogMessage::Fail()
"""
RUST = """\
thread 'main' panicked at src/lib.rs:2:5:
no vocabulary
stack backtrace:
   0: rust_begin_unwind
             at /rustc/library/std/src/panicking.rs:697:5
   1: core::panicking::panic_fmt
note: run with `RUST_BACKTRACE=full` for a verbose backtrace.
"""
GLIBC = """\
python3: graph.c:7: build: Assertion `node != NULL' failed.
/lib/libfoo.so(build+0x1f)[0x7f5e1a2a9eec]
/lib/x86_64-linux-gnu/libc.so.6(+0x3c050) [0x7f5e1a25a050]
"""
LLVM = """\
LLVM ERROR: Cannot select: intrinsic %llvm.x86.avx512
PLEASE submit a bug report to https://github.com/llvm/llvm-project/issues/
Stack dump:
0.\tProgram arguments: python3 -m navigator
 #0 0x00007f5e1a2a9eec llvm::sys::PrintStackTrace(llvm::raw_ostream&, int) (/lib/libLLVM.so+0x1)
"""


@pytest.mark.parametrize(
    ("log", "words"),
    [
        pytest.param(f"free(): invalid pointer\n{ABSL}", "free(): invalid pointer", id="absl"),
        pytest.param(f"loading weights\n{ABSL}", "loading weights", id="absl without a reason"),
        pytest.param(C10 + CRASH, "what():  CUDA error: device-side assert triggered", id="c10"),
        pytest.param(GLOG, "F20261130 02:00:00.000000 12 planner.cc:49] Check failed: size > 0 (0 vs. 0)", id="glog"),
        pytest.param(RUST, "no vocabulary", id="rust"),
        pytest.param(GLIBC, "python3: graph.c:7: build: Assertion `node != NULL' failed.", id="glibc"),
        pytest.param(LLVM, "LLVM ERROR: Cannot select: intrinsic %llvm.x86.avx512", id="llvm"),
        pytest.param(
            'Traceback (most recent call last):\n  File "m.py", line 1, in <module>\nValueError: no shape\n',
            "ValueError: no shape",
            id="python",
        ),
        pytest.param(
            CRASH.replace("Segmentation fault", "deletion of interned string failed"),
            "Fatal Python error: deletion of interned string failed",
            id="python's own reason",
        ),
    ],
)
def test_the_line_that_says_why_not_the_last_stack_frame(tmp_path: Path, log: str, words: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_line(tmp_path / "log", 0) == words


def test_last_words_of_no_log(tmp_path: Path) -> None:
    assert last_line(tmp_path / "absent", 0) == ""
