"""What errors look like on a terminal, whatever the names in them hold, and the exit code of each kind."""

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navigator.cli import main
from navigator.errors import ConfigurationError, ExhaustedError, ExitCode, exhausted, listed, quote, remedy


@given(st.text(), st.text())
@example("a\nERROR: forged", "\x1b[2K")
@example("a\u202eb", "")
@example("\ud800", "\x85")
def test_an_error_is_one_line_and_its_hint_another(message: str, hint: str) -> None:
    lines = str(ConfigurationError(message, hint)).split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == (2 if hint else 1)


@given(st.lists(st.text()))
@example(["a\nb", "", "x" * 99])
def test_names_in_a_list_are_one_line(names: list[str]) -> None:
    assert listed(names).isprintable()


def test_a_list_of_names_says_what_it_leaves_out() -> None:
    assert listed([]) == "none"
    assert listed(["image", "mask"]) == "image, mask"
    assert listed(["", "a\nb"]) == r"'', 'a\nb'"
    assert listed(map(str, range(14))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 2 more"
    assert quote("x" * 61) == f"'{'x' * 57}...'"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free up disk space, then run again"),
        (errno.EDQUOT, "free up disk space, then run again"),
        (errno.EACCES, "check the permissions of this path, then run again"),
        (errno.EROFS, "check the permissions of this path, then run again"),
        (errno.ENOTDIR, ""),
    ],
)
def test_the_remedy_fits_the_error(number: int, hint: str) -> None:
    assert remedy(OSError(number, "why", "file")) == hint


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_neither_a_wrong_configuration_nor_a_bug(tmp_path: Path, unbuffered: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    (tmp_path / "navigator.yaml").write_text("model_name: m\nmodel_path: m.onnx\n")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "navigator", "validate", "navigator.yaml"]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == ExitCode.IO_ERROR
    assert done.stderr == "<stdout>: No space left on device\n  free up disk space, then run again\n"


def test_another_error_of_the_system_has_its_own_words_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a\nfile").write_text("")
    results = Path(__file__).parents[1] / "cases" / "render" / "good.yaml"
    assert main(["report", str(results), "--output", str(tmp_path / "a\nfile")]) == ExitCode.IO_ERROR
    assert capsys.readouterr().err == f"{tmp_path}/a\\nfile: File exists\n"


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory"),
        (MemoryError("Unable to allocate 7 GiB"), "not enough memory: Unable to allocate 7 GiB"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files", "m.onnx"), "not enough open files: m.onnx"),
        (OSError(errno.ENFILE, "Too many open files in system"), "not enough open files"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "not enough processes"),
        (RuntimeError("can't start new thread"), "not enough threads"),
        (ImportError("advice\nlibx.so: failed to map segment\n"), "not enough memory: libx.so: failed to map segment"),
        (_caused(ConfigurationError("can't"), OSError(errno.EMFILE, "x", "navigator_workspace")), "not enough open"),
        (_caused(ValueError("x"), _caused(ValueError("y"), MemoryError())), "not enough memory"),
    ],
)
def test_what_the_system_has_run_out_of_is_no_bug(error: Exception, said: str) -> None:
    told = exhausted(error)
    assert isinstance(told, ExhaustedError)
    assert told.exit_code == 71
    assert told.message.startswith(said)
    assert told.hint


@pytest.mark.parametrize(
    "error", [ValueError("Too many open files"), RuntimeError("bad_alloc"), ImportError("no module named x")]
)
def test_a_bug_that_speaks_of_memory_is_one(error: Exception) -> None:
    assert exhausted(error) is None
    assert exhausted(ConfigurationError("'Too many open files.onnx' does not exist")) is None


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        (resource.RLIMIT_AS, 40 * 2**20, "not enough memory|at least 256 MiB"),
        (resource.RLIMIT_AS, 150 * 2**20, "at least 256 MiB"),
        (resource.RLIMIT_NOFILE, 4, "not enough open files"),
        (resource.RLIMIT_NOFILE, 6, "not enough open files"),
    ],
    ids=["no memory", "little memory", "no files", "few files"],
)
def test_a_limit_of_the_shell_is_a_sentence(tmp_path: Path, limit: int, most: int, said: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    # What a virtual environment starts by itself, such as setuptools' .pth file, needs open files before we do.
    command = [sys.executable, "-S", "-m", "navigator", "convert", "--model-path", "m.onnx", "--model-name", "m"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(limit, (most, most)),
    )
    assert done.returncode == ExitCode.EXHAUSTED, done.stderr
    assert re.search(said, done.stderr)
    assert "ulimit" in done.stderr
    assert "Traceback" not in done.stderr
