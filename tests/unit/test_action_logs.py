"""Logs of failed cells in the job's log: what models wrote is shown, what they lead to is not."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from navigator.action.logs import show_logs
from navigator.records import Status
from navigator.report import storage
from navigator.report.summary import Summary, summarize

EVERY_STATE = storage.read(Path(__file__).parents[1] / "cases/render/every_state.yaml")


def with_log(path: Path) -> Summary:
    bad = next(each for each in EVERY_STATE.results if each.status.state == "failed")
    status = Status(state=bad.status.state, message="no", log_path=path)
    return summarize(replace(EVERY_STATE, results=(replace(bad, status=status),)))


def shown(path: Path, directory: Path) -> str:
    stream = io.StringIO()
    show_logs(with_log(path), directory, stream)
    return stream.getvalue()


def test_the_end_of_a_log_is_shown_in_a_group(tmp_path: Path) -> None:
    log = tmp_path / "logs/tiny/onnx_op13.convert.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(300)) + "::error::mine\n")

    text = shown(log, tmp_path)

    assert text.startswith("::group::effnet onnx_op13: onnx_op13.convert.log\n::stop-commands::")
    assert text.endswith("::endgroup::\n")
    assert "line 99\n" not in text
    assert "line 101\n" in text
    assert "::error::mine\n" in text


@pytest.mark.parametrize("place", ["logs", "logs/1", "logs/1/environ"])
def test_nothing_is_shown_through_a_link(tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret/1/environ"
    secret.parent.mkdir(parents=True)
    secret.write_text("ghs_secret")
    target = {"logs": "secret", "logs/1": "secret/1", "logs/1/environ": "secret/1/environ"}[place]
    link = tmp_path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / target)

    assert shown(tmp_path / "logs/1/environ", tmp_path) == ""


def test_nothing_is_shown_of_another_directory(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "secret").write_text("ghs_secret")

    assert shown(tmp_path / "logs/../secret", tmp_path) == ""
    assert shown(tmp_path / "secret", tmp_path) == ""


def test_of_an_endless_line_the_end_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "logs/tiny/onnx_op13.convert.log"
    log.parent.mkdir(parents=True)
    log.write_text("a" * 3_000_000 + "the reason\n")

    text = shown(log, tmp_path)

    assert "the reason\n" in text
    assert len(text) < 1_100_000


def test_a_name_that_is_none_is_passed_over(tmp_path: Path) -> None:
    assert shown(tmp_path / "logs/tiny/a\0b", tmp_path) == ""
