"""Packages in other versions: what is asked for, what changes, where it's kept. Whole rehearsals are in tests/run."""

import os
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from navigator.errors import ConfigurationError
from navigator.host import overlay
from navigator.records import Replacement
from tests.support.wheels import wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory with the only wheels that can be had, without a network."""
    place = tmp_path / "wheels"
    wheel(place, "first", "1.0", "VERSION = 1", "second>=2")
    wheel(place, "second", "2.0", "VERSION = 2")
    wheel(place, "second", "3.0", "VERSION = 3")
    for name, value in (("FIND_LINKS", str(place)), ("NO_INDEX", "1"), ("OFFLINE", "1")):
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


def test_requirements_are_packages_with_versions(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\nonnx==1.23.* ; python_version > '3'\r\ntorch [extra] >=2.6,<3 # why\n\nonnx-ir\n")
    assert overlay.requirements([str(file), " numpy ", "numpy"]) == (
        "onnx==1.23.* ; python_version > '3'",
        "torch [extra] >=2.6,<3",
        "onnx-ir",
        "numpy",
    )


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "-r other.txt",
        "-e .",
        "./package",
        "package @ https://example.org/package.whl",
        "git+https://example.org/package",
        "https://example.org/package.whl",
        "package==1.0 --config-settings=x",
        "package==1.0\\\n  --global-option=x",
        "==1.0",
    ],
)
def test_nothing_else_is_a_requirement(tmp_path: Path, line: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"numpy\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"requirements\.txt, line 2: '.*' isn't a package with a version"):
        overlay.requirements([str(file)])


def test_a_file_of_requirements_that_is_missing_is_not_taken_for_a_package() -> None:
    with pytest.raises(ConfigurationError) as caught:
        overlay.requirements(["missing.txt"])
    assert str(caught.value) == "--with: there is no file 'missing.txt'\n  check the path"


def test_what_changes_has_what_it_needs_and_only_that(wheels: Path) -> None:
    numpy = metadata.version("numpy")
    found = overlay.changes([f"numpy=={numpy}", "first", "second<3"])
    assert found == (
        Replacement(name="first", before="", after="1.0"),
        Replacement(name="second", before="", after="2.0"),
    )
    assert overlay.changes([f"numpy=={numpy}"]) == ()


def test_an_overlay_is_made_once_and_forgotten_when_nobody_uses_it(wheels: Path, tmp_path: Path) -> None:
    found = overlay.changes(["second<3"])
    place = overlay.overlay(found)
    assert place.is_relative_to(tmp_path / "cache")
    assert (place / "second" / "__init__.py").read_text() == "VERSION = 2"
    shutil.rmtree(wheels)
    assert overlay.overlay(found) == place

    other = place.with_name("other")
    other.mkdir()
    month = time.time() - 31 * 24 * 3600
    os.utime(other, (month, month))
    assert overlay.overlay(found) == place
    assert [each.name for each in place.parent.iterdir()] == [place.name]


def test_what_is_half_installed_is_not_there(wheels: Path, tmp_path: Path) -> None:
    found = overlay.changes(["first", "second"])
    next(wheels.glob("second-3*")).unlink()
    with pytest.raises(overlay.NotInstallableError, match="can't be installed"):
        overlay.overlay(found)
    assert [*(tmp_path / "cache/model-navigator/environments").iterdir()] == []


def test_a_cache_that_cannot_be_written_is_said(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(overlay.NotInstallableError, match="environments: Not a directory"):
        overlay.overlay(overlay.changes(["second"]))


def test_an_overlay_goes_before_all_else(tmp_path: Path) -> None:
    assert overlay.python_path(tmp_path, {}) == str(tmp_path)
    assert overlay.python_path(tmp_path, {"PYTHONPATH": "/own"}) == f"{tmp_path}{os.pathsep}/own"


def test_uv_installs_where_there_is_no_pip(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed: pip install uv")
    monkeypatch.setattr(overlay, "_has_pip", lambda: False)
    found = overlay.changes(["first", "second<3"])
    assert [(each.name, each.after) for each in found] == [("first", "1.0"), ("second", "2.0")]
    assert (overlay.overlay(found) / "second" / "__init__.py").read_text() == "VERSION = 2"
    with pytest.raises(overlay.NotInstallableError, match=r"^second==9 can't be installed: .*second==9"):
        overlay.changes(["second==9"])


def test_without_pip_and_uv_it_is_said(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_has_pip", lambda: False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(overlay.NotInstallableError, match="there is neither pip nor uv") as found:
        overlay.changes(["second"])
    assert f"{sys.executable} -m ensurepip" in found.value.hint
