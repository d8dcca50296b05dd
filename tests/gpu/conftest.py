"""Tests that need an NVIDIA GPU: `pytest -m gpu`. Without one they are skipped, and say so.

Those of a library that isn't installed are skipped, too. `python -m tests.gpu.visit` is for a machine that is there for
minutes.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.host.gpus import find_gpus, visible
from navigator.records import Gpu
from navigator.workers.local.pool import ForkServer
from tests.gpu.engines import Engines

REPOSITORY = Path(__file__).parents[2]
_FOUND, NOTES = find_gpus()
GPUS = visible(_FOUND, os.environ.get("CUDA_VISIBLE_DEVICES"))
HERE = Path(__file__).parent


# The libraries that the tests of a file need.
NEEDED = {
    "test_tensorrt.py": ("tensorrt",),
    "test_plugin.py": ("tensorrt",),
    "test_runs.py": ("tensorrt",),
    "test_full_gpu.py": ("tensorrt", "torch"),
    "test_torch_tensorrt.py": ("torch_tensorrt", "tensorrt"),
    "test_tf_trt.py": ("tensorflow",),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = f"no NVIDIA GPU here{''.join(f' ({note})' for note in NOTES)}"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not GPUS:
                item.add_marker(pytest.mark.skip(reason=reason))
            missing = [name for name in NEEDED.get(item.path.name, ()) if importlib.util.find_spec(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


@pytest.fixture
def gpu() -> Gpu:
    return GPUS[0]


@pytest.fixture(scope="module")
def module_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Yield what builds and runs single engines, in workers that the tests of a file share."""
    directory = tmp_path_factory.mktemp("engines")
    with ForkServer(preload=(), directory=directory / "server") as workers:
        yield Engines(workers=workers, directory=directory / "own", gpu=GPUS[0])


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[ForkServer]:
    with ForkServer(preload=(), directory=tmp_path / "server") as workers:
        yield workers


@pytest.fixture
def engines(tmp_path: Path, workers: ForkServer) -> Engines:
    """Return what builds and runs single engines, with their logs in a directory of the test's own."""
    return Engines(workers=workers, directory=tmp_path / "own", gpu=GPUS[0])


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
