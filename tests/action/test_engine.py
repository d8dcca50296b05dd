"""The engine's process: its environment, its output in the log, its end, whatever it does."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

DRIVER = Path(__file__).with_name("engine_driver.py")
TOKENS = {
    "INPUT_TOKEN": "gho_first",
    "GITHUB_TOKEN": "gho_second",
    "ACTIONS_RUNTIME_TOKEN": "gho_third",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "gho_fourth",
    "AWS_SECRET_ACCESS_KEY": "gho_fifth",
}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts the driver with an engine of the test's own, a program of lines."""

    def starter(program: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
        package = tmp_path / "stand-in" / "navigator"
        package.mkdir(parents=True)
        # The driver finds the real package; what it starts finds this one first.
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(textwrap.dedent(program))
        variables = os.environ | {"PYTHONPATH": str(package.parent), "UNLENT": "1"} | TOKENS | environment
        command = [sys.executable, "-I", str(DRIVER), *words, "--"]
        return subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return starter


def finished(driver: "subprocess.Popen[str]") -> tuple[list[str], dict[str, Any]]:
    output, _ = driver.communicate(timeout=60)
    *log, last = output.splitlines()
    assert last.startswith("{"), output
    return log, json.loads(last)


def test_output_is_shown_where_it_cannot_be_a_command(start: Start) -> None:
    log, ended = finished(
        start(
            """
            import sys
            print("::set-output name=x::1")
            print("::add-path::/evil", file=sys.stderr, flush=True)
            print("no end of line", end="")
            sys.exit(3)
            """
        )
    )
    stop, *inside, resume = log
    token = re.fullmatch(r"::stop-commands::(\w{16,})", stop)
    assert token is not None
    assert resume == f"::{token[1]}::"
    assert sorted(inside) == ["::add-path::/evil", "::set-output name=x::1", "no end of line"]
    assert ended["code"] == 3
    assert ended["last_words"].endswith("no end of line")


def test_no_token_reaches_the_engine(start: Start) -> None:
    log, _ = finished(
        start(
            """
            import json, os, sys
            print(json.dumps(dict(os.environ)))
            print(sys.stdin.read() == "", os.getsid(0) == os.getpid())
            print(open("/proc/self/status").read())
            """,
            OMP_NUM_THREADS="2",
            RUNNER_TEMP="/tmp/runner",
        )
    )
    assert "gho_" not in "".join(log)
    seen = json.loads(log[1])
    assert seen["OMP_NUM_THREADS"] == "2"
    assert "RUNNER_TEMP" not in seen
    assert seen["HOME"] == seen["TMPDIR"] != os.environ.get("HOME")
    assert log[2] == "True True"
    assert ["NoNewPrivs:", "1"] in [line.split() for line in log]


def test_docker_is_told_only_where_it_is_wanted(start: Start, tmp_path: Path) -> None:
    program = "import os; print(os.environ.get('DOCKER_HOST'), os.environ.get('DOCKER_TOKEN'))"
    variables = {"DOCKER_HOST": "tcp://host:1", "DOCKER_TOKEN": "gho_sixth"}
    log, _ = finished(start(program, **variables))
    assert log[1] == "None None"
    (tmp_path / "stand-in").rename(tmp_path / "before")
    log, _ = finished(start(program, "docker=true", **variables))
    assert log[1] == "tcp://host:1 None"


def test_long_lines_and_other_bytes(start: Start) -> None:
    log, ended = finished(
        start(
            r"""
            import sys
            sys.stdout.buffer.write(b"x" * 200_000 + b"\n\xff\n" + b"y" * 70_000)
            """
        )
    )
    inside = "".join(log[1:-1])
    assert inside.count("x") == 200_000
    assert inside.count("y") == 70_000
    assert "\ufffd" in inside
    assert ended["code"] == 0


def test_cancelled_the_engine_may_write_its_results(start: Start, tmp_path: Path) -> None:
    driver = start(
        """
        import pathlib, signal, sys, time
        def stop(*_):
            pathlib.Path("results").write_text("here")
            sys.exit(130)
        signal.signal(signal.SIGTERM, stop)
        pathlib.Path("ready").touch()
        time.sleep(60)
        """
    )
    signalled(driver, tmp_path / "ready", signal.SIGINT, signal.SIGTERM)
    _, ended = finished(driver)
    assert ended == {"code": 130, "last_words": "", "cancelled": True}
    assert (tmp_path / "results").read_text() == "here"


def test_an_engine_that_does_not_listen_is_killed(start: Start, tmp_path: Path) -> None:
    driver = start(
        """
        import os, pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            pathlib.Path("stray").write_text(str(os.getpid()))
        else:
            pathlib.Path("ready").touch()
        while True:
            time.sleep(1)
        """
    )
    stray = signalled(driver, tmp_path / "stray", signal.SIGTERM)
    _, ended = finished(driver)
    assert ended["code"] == 130
    assert not psutil.pid_exists(int(stray))


def test_nothing_that_the_engine_started_outlives_it(start: Start, tmp_path: Path) -> None:
    """A daemon that holds the output open, and writes to it, neither delays the end nor survives it."""
    driver = start(
        """
        import os, pathlib, time
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            pathlib.Path("stray").write_text(str(os.getpid()))
            while True:
                os.write(1, b"still here\\n" * 100)
        while not pathlib.Path("stray").exists():
            time.sleep(0.01)
        """
    )
    _, ended = finished(driver)
    assert ended["code"] == 0
    assert not psutil.pid_exists(int((tmp_path / "stray").read_text()))


def test_a_signal_that_ends_the_engine_is_its_code(start: Start) -> None:
    _, ended = finished(start("import os; os.kill(os.getpid(), 9)"))
    assert ended["code"] == 137


def signalled(driver: "subprocess.Popen[str]", ready: Path, *numbers: int) -> str:
    """Send signals once a file is there, and return what is in it."""
    while not ready.exists() or driver.poll() is not None:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)
    time.sleep(0.1)
    for number in numbers:
        driver.send_signal(number)
    return ready.read_text()
