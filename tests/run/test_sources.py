"""Runs on source models that can't be read, or that are larger than anybody has time for."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.cli import main
from navigator.plan.planner import plan
from navigator.records import Plan

CONVERT = [sys.executable, "-m", "navigator", "convert", "--cache-path", "cache"]
# Root reads everything, unless this capability is taken away.
ORDINARY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
TWO = """\
defaults: {target_formats: [onnx], onnx_opsets: [17], max_batch_size: 4}
models:
- {model_name: other, model_path: external/model.onnx}
- {model_name: tiny, model_path: tiny.onnx}
"""


@pytest.fixture
def two(project: Path) -> Path:
    """Return a directory with two models, one of which keeps its weights in `external/weights`."""
    import onnx

    (project / "external").mkdir()
    model = onnx.load("tiny.onnx")
    onnx.save(model, "external/model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    (project / "navigator.yaml").write_text(TWO)
    return project


def results(project: Path) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    return {each["model_name"]: each["status"] for each in found["results"]}


@pytest.mark.fault(
    "External data of one model can't be read", "That model's conversions fail with the reason. The others go on."
)
@pytest.mark.parametrize("more", [[], ["--cache-path", "null"]])
def test_a_model_that_cannot_be_read_costs_its_own_conversions_only(two: Path, more: list[str]) -> None:
    (two / "external/weights").chmod(0)
    done = subprocess.run([*ORDINARY, *CONVERT, *more], capture_output=True, text=True, timeout=120)
    (two / "external/weights").chmod(0o644)
    assert (done.returncode, done.stderr) == (1, "")
    found = results(two)
    assert (found["other"]["state"], found["tiny"]["state"]) == ("blocked", "passed")
    if not more:
        said = f"{two}/external/weights can't be read: Permission denied"
        assert found["other"]["message"] == f"blocked by the source model, which can't be run: {said}"


@pytest.mark.fault(
    "A source model disappears after the configuration was checked",
    "That model's conversions fail with the reason. The others go on.",
)
def test_a_model_that_disappears_costs_its_own_conversions_only(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(*arguments: Any) -> Plan:
        shutil.rmtree(two / "external")
        return plan(*arguments)

    monkeypatch.setattr("navigator.plan.planner.plan", planned)
    assert main(["convert"]) == 1
    found = results(two)
    assert (found["other"]["state"], found["tiny"]["state"]) == ("blocked", "passed")
    said = f"{two}/external/model.onnx can't be read: No such file or directory"
    assert found["other"]["message"] == f"blocked by the source model, which can't be run: {said}"


def test_a_leftover_that_cannot_be_removed_costs_its_own_conversions_only(two: Path) -> None:
    """As when an earlier run of another user wrote to the workspace."""
    assert main(["convert"]) == 0
    logs = two / "navigator_workspace/logs/other"
    assert (logs / "source.reference.log").exists()
    logs.chmod(0o500)
    done = subprocess.run([*ORDINARY, *CONVERT], capture_output=True, text=True, timeout=120)
    logs.chmod(0o700)
    assert (done.returncode, done.stderr) == (1, "")
    found = results(two)
    assert (found["other"]["state"], found["tiny"]["state"]) == ("blocked", "passed")
    assert f"can't write to the workspace: {logs}/" in found["other"]["message"]
    assert found["other"]["message"].endswith(": Permission denied")


@pytest.mark.fault(
    "A model of 200 GB is read, and the run is interrupted",
    "It ends at once. Results and summary hold what was finished; exit code 130.",
)
def test_an_interrupt_ends_the_reading_of_a_large_model(two: Path) -> None:
    os.truncate(two / "external/weights", 200 * 10**9)
    process = subprocess.Popen([*CONVERT, "--override-workspace"], stdout=subprocess.DEVNULL)
    made = two / "navigator_workspace/converted/other/onnx_op17/weights"
    give_up = time.monotonic() + 60
    while not (made.exists() and results(two)["tiny"]["state"] == "passed"):
        assert time.monotonic() < give_up
        assert process.poll() is None
        time.sleep(0.05)
    assert made.stat().st_blocks < 2**20
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 130
    assert results(two)["other"]["state"] == "cancelled"
