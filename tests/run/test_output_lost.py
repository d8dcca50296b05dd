"""Runs whose output nobody can read, whose disk is full, or whose terminal was closed: no result is lost."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.run.test_surroundings import CONVERT, TINY, break_model, states

FULL = Path("/dev/full")


@pytest.fixture
def tiny(project: Path) -> Path:
    (project / "navigator.yaml").write_text(TINY)
    return project


def results(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    return found


@pytest.mark.parametrize(
    ("lost", "broken", "unbuffered"),
    [((1,), False, ""), ((1,), True, "1"), ((2,), False, ""), ((1, 2), False, "1"), ((1, 2), True, "")],
)
@pytest.mark.fault(
    "Standard output or standard error is a file on a full disk",
    "The run goes on and writes its results. Exit code 74 instead of 0.",
)
def test_full_standard_streams_cost_no_result(tiny: Path, lost: tuple[int, ...], broken: bool, unbuffered: str) -> None:
    if broken:
        break_model(tiny)

    with FULL.open("w") as full:
        done = subprocess.run(
            CONVERT,
            stdout=full if 1 in lost else subprocess.PIPE,
            stderr=full if 2 in lost else subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=120,
        )

    # Nothing was printed to standard error, so nothing of it is lost.
    assert done.returncode == (1 if broken else 74 if 1 in lost else 0)
    assert results(tiny)["complete"]
    assert states(results(tiny)) == (["blocked"] * 2 if broken else ["passed"] * 2)
    assert (tiny / "navigator_workspace/summary.md").is_file()
    if lost == (1,):
        assert done.stderr == "<stdout>: No space left on device\n  free up disk space, then run again\n"


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["validate", "navigator.yaml"], ["convert", "--nope"]])
def test_no_command_ends_with_a_traceback_for_full_streams(tiny: Path, command: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([*CONVERT[:-1], *command], stdout=full, stderr=full, timeout=120)

    assert done.returncode == (2 if "--nope" in command else 74)


@pytest.mark.fault(
    "The terminal is closed, or SIGHUP comes",
    "Exit code 130. Results contain what was finished.",
)
@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_closed_terminal_ends_the_run_like_sigterm(tiny: Path, slow: dict[str, str], term: str) -> None:
    """With and without progress bars, which are written from a thread of their own."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        CONVERT, stdin=theirs, stdout=theirs, stderr=theirs, env=slow | {"TERM": term}, preexec_fn=lead_terminal
    )
    os.close(theirs)
    wait_for_first(tiny, terminal=ours)
    os.close(ours)  # The kernel sends SIGHUP, and output fails from now on.

    assert process.wait(60) == 130
    assert_cancelled(tiny)


def test_a_closed_terminal_costs_nothing_if_it_is_ignored(tiny: Path) -> None:
    """As in `nohup model-navigator convert`."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["nohup", *CONVERT], stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead_terminal
    )
    os.close(theirs)
    wait_for(lambda: (tiny / "navigator_workspace/convert_results.yaml").exists(), ours)
    os.close(ours)

    assert process.wait(60) == 0
    assert states(results(tiny)) == ["passed", "passed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_one_after_the_other_cost_no_result(tiny: Path, slow: dict[str, str], number: signal.Signals) -> None:
    """A shell sends more than one SIGHUP, people press Ctrl-C again, and runners send SIGTERM after SIGINT."""
    process = subprocess.Popen(
        CONVERT,
        env=slow,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A shell's background job ignores SIGINT, and so would its children: tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for_first(tiny)
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.002)
    printed, _ = process.communicate()

    assert process.returncode == 130, printed
    assert_cancelled(tiny)


def test_a_signal_that_the_kernel_gives_to_another_thread_ends_the_run(tiny: Path, slow: dict[str, str]) -> None:
    """It does so if the main thread has one to handle already."""
    with (tiny / "slow/sitecustomize.py").open("a") as file:
        file.write(
            "import pathlib, signal, sys, threading\n"
            "results = pathlib.Path('navigator_workspace/convert_results.yaml')\n"
            "def tell():\n"
            "    while not (results.exists() and 'state: passed' in results.read_text()): time.sleep(0.1)\n"
            "    time.sleep(0.5)\n"
            "    signal.pthread_kill(threading.get_ident(), signal.SIGHUP)\n"
            "def ours(event, values):\n"
            "    if event == 'import' and values[0] == 'navigator.engine.run':\n"
            "        threading.Thread(target=tell, daemon=True).start()\n"
            "sys.addaudithook(ours)\n"
        )

    done = subprocess.run(CONVERT, env=slow, capture_output=True, text=True, timeout=120)

    assert done.returncode == 130, done.stdout
    assert_cancelled(tiny)


def test_a_signal_before_the_run_ends_it_without_a_traceback(tiny: Path) -> None:
    """While the frameworks' versions, GPUs and Docker are looked up."""
    (tiny / "early").mkdir()
    (tiny / "early/sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def ours(event, _):\n"
        "    if event == 'import' and _[0] == 'navigator.plan.planner': os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.addaudithook(ours)\n"
    )
    done = subprocess.run(
        CONVERT, env=os.environ | {"PYTHONPATH": str(tiny / "early")}, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.fixture
def small_disk(project: Path) -> Iterator[Path]:
    """A workspace on a disk of 256 KiB."""
    place = project / "navigator_workspace"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.fault(
    "The disk with the workspace is full",
    "The conversions fail and name the disk, and the verdicts are printed. An earlier file is kept or removed whole.",
)
def test_verdicts_are_printed_if_the_disk_is_full(tiny: Path, small_disk: Path) -> None:
    (small_disk / "logs").mkdir()
    (small_disk / ".model-navigator").touch()
    (small_disk / "logs/ballast").write_bytes(bytes(4096 * os.statvfs(small_disk).f_bavail))

    done = subprocess.run(CONVERT, capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    # The first one begins while the source model runs, and may notice before it.
    assert re.search(r"^(2 of 2 conversions blocked|1 of 2 conversions failed, 1 blocked)", done.stdout, re.MULTILINE)
    assert "convert_results.yaml couldn't be written: " in done.stderr
    assert "free up disk space" in done.stderr
    # Nothing that an earlier run left, and no half of a file.
    assert not [each for each in small_disk.iterdir() if each.is_file() and each.stat().st_size]


@pytest.fixture
def slow(tiny: Path) -> dict[str, str]:
    """Variables with which the second conversion takes ten minutes."""
    (tiny / "slow").mkdir()
    (tiny / "slow/sitecustomize.py").write_text(
        "import time, onnx.version_converter\nonnx.version_converter.convert_version = lambda *_: time.sleep(600)\n"
    )
    return os.environ | {"PYTHONPATH": str(tiny / "slow")}


def lead_terminal() -> None:
    """Make standard input the controlling terminal of a new session."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def wait_for_first(project: Path, terminal: int | None = None) -> None:
    path = project / "navigator_workspace/convert_results.yaml"
    wait_for(lambda: path.exists() and "state: passed" in path.read_text(), terminal)


def wait_for(condition: Callable[[], bool], terminal: int | None) -> None:
    """Wait and read what is written to a terminal, which has little room."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
        if terminal is not None and select.select([terminal], [], [], 0)[0]:
            with suppress(OSError):  # nohup closes it
                os.read(terminal, 2**16)


def assert_cancelled(project: Path) -> None:
    assert states(results(project)) == ["passed", "cancelled"]
    assert not results(project)["complete"]
    assert (project / "navigator_workspace/summary.md").is_file()
    assert not (project / "navigator_workspace/.scratch").exists()
