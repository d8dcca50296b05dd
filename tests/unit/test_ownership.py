"""Which directories are Model Navigator's, and which the user's."""

import os
from pathlib import Path

import pytest

from navigator.errors import ConfigurationError
from navigator.report import storage
from navigator.report.ownership import MARKER, check_report_directory, has_results, is_marked, mark
from tests.support.builders import a_report, a_result


def test_a_marked_directory_is_ours(tmp_path: Path) -> None:
    assert not is_marked(tmp_path)
    mark(tmp_path)
    mark(tmp_path)
    assert is_marked(tmp_path)
    assert (tmp_path / MARKER).stat().st_uid == tmp_path.stat().st_uid


def test_another_user_does_not_give_the_marker_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "chown", lambda *_given, **_options: pytest.fail("only root may"))
    mark(tmp_path)
    assert is_marked(tmp_path)


def test_a_link_is_no_marker(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / MARKER).symlink_to(tmp_path / "file")
    assert not is_marked(tmp_path)


def test_results_of_a_run_make_a_directory_ours(tmp_path: Path) -> None:
    assert not has_results(tmp_path)
    (tmp_path / storage.RESULTS).write_text("version: of the user's own\n")
    assert not has_results(tmp_path)
    storage.write(a_report(a_result()), tmp_path / storage.RESULTS)
    assert has_results(tmp_path)
    check_report_directory(tmp_path)


@pytest.mark.parametrize("name", storage.FILES)
def test_a_report_replaces_no_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").mkdir()
    check_report_directory(tmp_path / "report")
    (tmp_path / "report" / name).write_text("precious")
    with pytest.raises(ConfigurationError, match=f"would replace {name}, which Model Navigator didn't write"):
        check_report_directory(tmp_path / "report")
    mark(tmp_path / "report")
    check_report_directory(tmp_path / "report")


def test_a_report_leaves_the_repository_through_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "report").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "repository")
    with pytest.raises(ConfigurationError, match="leads out of the repository"):
        check_report_directory(Path("report"))
