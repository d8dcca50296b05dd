"""Ways to run the command line on a tiny ONNX model: whole runs with real workers, also with faults."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.cli import main


@pytest.fixture
def project(tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is the working directory and holds `tiny.onnx`."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


Sabotage = Callable[[str], Path]


@pytest.fixture
def sabotage(project: Path, monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    """Return a function that makes all workers run some code first, and returns the directory of this code.

    Python imports `sitecustomize` whenever it starts. The environment stays the same, with and without code.
    """
    directory = project / "sabotage"
    directory.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(directory))

    def write(code: str) -> Path:
        (directory / "sitecustomize.py").write_text(textwrap.dedent(code))
        return directory

    write("")
    return write


Convert = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def convert(project: Path) -> Convert:
    """Return a function that writes a navigator.yaml, converts, and returns the exit code and the results file."""

    def run(text: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        (project / "navigator.yaml").write_text(textwrap.dedent(text))
        code = main(["convert", *arguments])
        results = project / "navigator_workspace" / "convert_results.yaml"
        return code, yaml.safe_load(results.read_text()) if results.exists() else {}

    return run
