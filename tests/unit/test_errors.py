"""What errors look like on a terminal, whatever the names in them hold, and the exit code of each kind."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navigator.cli import main
from navigator.errors import ConfigurationError, ExitCode, listed, quote, remedy


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
