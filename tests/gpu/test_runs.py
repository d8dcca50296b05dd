"""Whole runs that build engines: results, cache and its identity, cancellation, deadlines."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from navigator import config
from navigator.engine.cached_steps import keys
from navigator.host.describe import describe
from navigator.plan.planner import plan
from navigator.records import Gpu
from tests.gpu.engines import CHANNELS, convolutions

MODEL: dict[str, Any] = {
    "model_name": "m",
    "model_path": "m.onnx",
    "target_formats": ["trt"],
    "min_shapes": {"x": [1, CHANNELS, 16, 16]},
    "opt_shapes": {"x": [2, CHANNELS, 16, 16]},
    "max_shapes": {"x": [4, CHANNELS, 16, 16]},
    "fail_on_unverified": False,
}


def test_every_precision_is_built_verified_and_cached(convert: Any, tmp_path: Path, gpu: Gpu) -> None:
    convolutions(tmp_path / "m.onnx")
    model = {**MODEL, "tensorrt_precisions": ["int8", "fp16", "fp32"], "tensorrt_precisions_mode": "mixed"}
    document = {**model, "cache_path": "cache"}

    code, cells, printed = convert(document, "--verbose")

    print(printed[-6000:])
    assert code == 0, printed[-3000:]
    engines = {name: each for name, each in cells.items() if each["conversion_config"]["target_format"] == "trt"}
    assert len(engines) == 5
    for name, each in engines.items():
        # Random inputs don't prove that int8 scales fit real ones.
        assert each["status"]["state"] == ("unverified" if "int8" in name else "passed"), each["status"]
        assert {comparison["device"] for comparison in each["comparisons"]} == {"cuda"}
        assert {latency["device"] for latency in each["latencies"]} == {"cuda"}
        made = each["output_model"]["properties"]
        assert made["gpu"] == gpu.name
        layers = " ".join(made["layer_information"])
        assert ("Int8" in layers) is ("int8" in name), name
        if "int8_hierarchy" not in name:  # where float16 may be left, or not
            assert ("Half" in layers or "FP16" in layers) is ("fp16" in name), name

    logs = [path.read_text() for path in (tmp_path / "navigator_workspace" / "logs" / "m").glob("*trt_*.convert.log")]
    workers = {pid for log in logs for pid in re.findall(r"=== convert, .*, process (\d+)", log)}
    assert len(logs) == 5
    assert len(workers) == 1, "kernels are loaded once"

    started = time.monotonic()
    code, again, printed = convert(document, "--override-workspace")
    seconds = time.monotonic() - started

    assert code == 0, printed[-3000:]
    assert all(each["cached"] for name, each in again.items() if name in engines)
    print(f"again in {seconds:.1f} s")


def test_the_identity_of_an_engine_names_gpu_driver_and_tensorrt(tmp_path: Path) -> None:
    convolutions(tmp_path / "m.onnx")
    (tmp_path / "navigator.yaml").write_text(yaml.safe_dump(MODEL))
    run = config.load(tmp_path / "navigator.yaml", {}, working_directory=tmp_path, allow_outside=True)
    here = describe()
    gpu = here.gpus[0]
    others = {
        "here": here,
        "another driver": replace(here, gpus=(replace(gpu, driver_version="1.2.3"),)),
        "another GPU": replace(here, gpus=(replace(gpu, name="another", compute_capability="8.9"),)),
        "another TensorRT": replace(here, versions={**here.versions, "tensorrt": "10.99.0"}),
    }
    found = {}
    for name, host in others.items():
        (model,) = plan(run, host).models
        of_steps, _ = keys(model, host, "0" * 64)
        (label,) = [step.label for step in model.steps if step.label.endswith("trt_fp32")]
        found[name] = of_steps[label].artifact

    assert len(set(found.values())) == len(others), found


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, Any]:
    """A model whose engine takes minutes."""
    convolutions(tmp_path / "m.onnx", layers=100, grow=2)
    return {**MODEL, "tensorrt_precisions": ["fp32"], "tensorrt_optimization_level": 5}


def begin(directory: Path, document: dict[str, Any]) -> subprocess.Popen[str]:
    (directory / "navigator.yaml").write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "navigator", "convert", "--allow-outside"]
    return subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_build(run: subprocess.Popen[str], directory: Path) -> None:
    """Wait until TensorRT builds."""
    end = time.monotonic() + 120
    while not any(path.read_text() for path in directory.glob("navigator_workspace/.scratch/.told/m/*trt_fp32")):
        assert run.poll() is None, run.communicate()[0][-3000:]
        assert time.monotonic() < end, "no build began"
        time.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_build_ends_within_seconds_and_leaves_nothing(
    tmp_path: Path, slow: dict[str, Any], number: signal.Signals
) -> None:
    run = begin(tmp_path, slow)
    wait_for_build(run, tmp_path)
    time.sleep(3)
    workers = psutil.Process(run.pid).children(recursive=True)
    assert workers

    started = time.monotonic()
    os.kill(run.pid, number)
    printed, _ = run.communicate(timeout=60)
    seconds = time.monotonic() - started

    print(f"ended {seconds:.1f} s after {number.name}: {printed[-600:]}")
    assert seconds < 5
    _, alive = psutil.wait_procs(workers, timeout=1)
    assert not alive
    nothing_left(tmp_path, "cancelled")


def test_a_build_out_of_time_ends_within_seconds_and_leaves_nothing(tmp_path: Path, slow: dict[str, Any]) -> None:
    started = time.monotonic()
    run = begin(tmp_path, {**slow, "timeout_seconds": 20})
    wait_for_build(run, tmp_path)
    printed, _ = run.communicate(timeout=120)
    print(f"ended after {time.monotonic() - started:.1f} s: {printed[-600:]}")

    assert "stopped after 20 s" in printed
    cell = nothing_left(tmp_path, "timed_out")
    assert cell["seconds"]["convert"] < 25


def nothing_left(directory: Path, state: str) -> dict[str, Any]:
    """Check that the engine has this state and no file; return its result."""
    workspace = directory / "navigator_workspace"
    assert not list(workspace.rglob("model.plan"))
    assert not (workspace / ".scratch").exists()
    results = yaml.safe_load((workspace / "convert_results.yaml").read_text())["results"]
    (cell,) = [each for each in results if each["conversion"].endswith("trt_fp32")]
    assert cell["status"]["state"] == state
    return dict(cell)
