"""Tests that need an NVIDIA GPU: `pytest -m gpu`. Without one they are skipped, and say so."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.host.gpus import find_gpus
from navigator.records import Gpu

REPOSITORY = Path(__file__).parents[2]
GPUS, NOTES = find_gpus()
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = f"no NVIDIA GPU here{''.join(f' ({note})' for note in NOTES)}"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not GPUS:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def gpu() -> Gpu:
    return GPUS[0]


Convert = Callable[..., tuple[int, dict[str, dict[str, Any]], str]]


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Return a function that converts: exit code, results by "model cell", and what was printed."""

    def run(document: dict[str, Any], *arguments: str) -> tuple[int, dict[str, dict[str, Any]], str]:
        (tmp_path / "navigator.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        command = [sys.executable, "-m", "navigator", "convert", "--allow-outside", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        report = tmp_path / "navigator_workspace" / "convert_results.yaml"
        results = yaml.safe_load(report.read_text())["results"] if report.exists() else []
        cells = {f"{each['model_name']} {each['conversion']}": each for each in results}
        return ended.returncode, cells, ended.stdout + ended.stderr

    return run
