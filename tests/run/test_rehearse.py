"""An upgrade is rehearsed: the same models under two versions of a package, and what the other version changes.

The wheels are the tests' own, so that no network is needed and it's known what they change.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.cli import main
from tests.support.builders import write_gelu
from tests.support.wheels import LIKE_INSTALLED, WRONG_WEIGHTS, wheel

CONFIGURATION = """\
model_name: tiny
model_path: tiny.onnx
target_formats: [onnx]
onnx_opsets: [13, 14]
cache_path: cache
output_path: delivered.onnx
"""


@pytest.fixture
def index(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the only wheels that pip can have."""
    (project / "navigator.yaml").write_text(CONFIGURATION)
    place = project / "wheels"
    wheel(place, "onnx", "98.0", LIKE_INSTALLED)
    wheel(place, "onnx", "99.0", WRONG_WEIGHTS)
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "user-cache"))
    return place


def results(project: Path, kind: str) -> Any:
    return yaml.safe_load((project / f"navigator_workspace/rehearsal/{kind}/convert_results.yaml").read_text())


def cached(report: Any) -> list[bool]:
    return [each["cached"] for each in report["results"]]


def test_a_version_that_breaks_a_model_fails_and_another_does_not(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = metadata.version("onnx")
    assert main(["rehearse", "--with", "onnx==99.*"]) == 1
    said = capfd.readouterr().out
    assert f"installed: onnx {before}\n" in said
    assert "proposed: onnx 99.0\n" in said
    assert "Compared with the installed versions: 1 conversion broke" in said
    assert "broken: tiny onnx_op14: " in said
    assert f"onnx {before} → 99.0" in said

    installed, proposed = results(project, "installed"), results(project, "proposed")
    assert [each["status"]["state"] for each in installed["results"]] == ["passed", "passed"]
    assert [each["status"]["state"] for each in proposed["results"]] == ["passed", "mismatched"]
    assert [each["environment"]["versions"]["onnx"] for each in (installed, proposed)] == [before, "99.0"]
    assert "model-navigator rehearse --with" in proposed["results"][1]["reproduce"]
    # Nothing here has changed, and nobody asked for the models.
    assert metadata.version("onnx") == before
    assert not (project / "delivered.onnx").exists()

    # Neither run takes from the cache what the other one made.
    assert (cached(installed), cached(proposed)) == ([False, False], [False, False])
    assert main(["rehearse", "--with", "onnx==99.*"]) == 1
    assert cached(results(project, "installed")) == [True, True]
    # What doesn't match is verified again.
    assert cached(results(project, "proposed")) == [True, False]
    assert main(["convert"]) == 0
    report = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    assert (cached(report), (project / "delivered.onnx").exists()) == ([True, True], True)

    capfd.readouterr()
    assert main(["rehearse", "--with", "onnx==98.0"]) == 0
    assert "Compared with the installed versions: nothing changed" in capfd.readouterr().out
    assert cached(results(project, "proposed")) == [False, False]


def test_what_fails_under_both_versions_fails_nothing(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_gelu(project / "tiny.onnx")
    (project / "navigator.yaml").write_text(CONFIGURATION.replace("[13, 14]", "[13, 20]"))
    assert main(["rehearse", "--with", "onnx==98.0"]) == 0
    assert "nothing changed, 1 conversion still fails" in capfd.readouterr().out


def test_a_version_that_cannot_start_is_said(project: Path, index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # The engine itself imports it.
    wheel(index, "yaml", "99.0", "raise ImportError('not with this Python')")
    assert main(["rehearse", "--with", "yaml==99.0"]) == 1
    said = capfd.readouterr().err
    assert "not with this Python" in said
    assert "the run with the proposed versions ended without results" in said


def test_what_is_installed_already_needs_no_rehearsal(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    present = f"onnx=={metadata.version('onnx')}"
    assert main(["rehearse", "--with", present]) == 0
    assert capfd.readouterr().out == f"nothing to rehearse: {present}: already installed\n"
    assert not (project / "navigator_workspace").exists()


def test_a_requirements_file_is_taken_as_it_is(project: Path, index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "# pinned\nonnx==98.0 \\\n    --hash=sha256:0123 \\\n    --hash=sha256:4567  # via model\n\n"
    (project / "requirements.txt").write_text(text)
    assert main(["rehearse", "--with", "requirements.txt"]) == 0
    assert "proposed: onnx 98.0\n" in capfd.readouterr().out


UNKNOWN = "can't be installed: there is no such version for this Python and platform"
NOBODYS = "can't be installed: no package of that name has a wheel for this Python and platform"


@pytest.mark.fault(
    "A proposed version can't be installed", "`rehearse` converts nothing, and says what and which versions there are."
)
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("onnx==97.*", f"onnx==97.* {UNKNOWN}\n  the newest versions are 99.0, 98.0\n"),
        ("nobodys==1", f"nobodys==1 {NOBODYS}\n  check the name\n"),
        ("picky==1.0", "picky==1.0 can't be installed: "),
        ("https://example.org/x.whl", "--with: 'https://example.org/x.whl' isn't a package with a version\n"),
        ("--index-url=https://example.org", "--with: '--index-url=https://example.org' isn't a package"),
        ("./wheels", "--with: './wheels' isn't a package"),
    ],
)
def test_what_cannot_be_installed_is_a_sentence(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str], wanted: str, said: str
) -> None:
    wheel(index, "picky", "1.0", "", "onnx==98.0", "onnx==99.0")
    assert main(["rehearse", f"--with={wanted}"]) == 2
    assert capfd.readouterr().err.startswith(said)
    assert not (project / "navigator_workspace").exists()


def test_without_a_network_it_is_said(
    project: Path, index: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert main(["rehearse", "--with", "onnx==99.*"]) == 2
    assert "onnx==99.* can't be installed: the package index can't be reached\n" in capfd.readouterr().err


def test_an_interrupt_ends_both_processes(project: Path, index: Path) -> None:
    wheel(index, "onnx", "97.0", LIKE_INSTALLED + "import time\ntime.sleep(300)\n")
    command = [sys.executable, "-P", "-m", "navigator", "rehearse", "--with", "onnx==97.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("proposed: "):
                    break
            # As a runner does it: only this process hears of it.
            process.terminate()
            assert process.wait(60) == 130
            process.stdout.read()  # which ends when no process has it open any more
        finally:
            process.kill()
