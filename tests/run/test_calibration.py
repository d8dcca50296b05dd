"""Whole runs in int8: what an int8 model is calibrated on, it isn't compared on."""
# ruff: noqa: TID253 - the frameworks are what is tested

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper, parser

PLAIN = """
<ir_version: 8, opset_import: ["" : 17]>
plain (float[batch, 8] x) => (float[batch, 4] y) { y = MatMul(x, w) }
"""
QUANTIZED = """
<ir_version: 8, opset_import: ["" : 17]>
quantized (float[batch, 8] x) => (float[batch, 4] y) {
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    y = MatMul(d, w)
}
"""


def results(tmp_path: Path, text: str, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Convert to an engine in int8; return the exit code and the result of each precision's last word."""
    model = parser.parse_model(text)
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((8, 4)).astype("float32"), "scale": np.float32(0.05), "zero": np.int8(0)}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used)
    onnx.save(model, tmp_path / "m.onnx")
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", rng.standard_normal((2, 8)).astype("float32"))
    command = [sys.executable, "-m", "navigator", "convert", "--model-name", "m", "--model-path", "m.onnx"]
    command += ["--target-formats", "trt-rtx", "--tensorrt-precisions", "int8", "--tensorrt-precisions-mode", "single"]
    command += ["--max-batch-size", "4", "--tensorrt-rtx-compute-capabilities", "8.9", *arguments]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    report = yaml.safe_load((tmp_path / "navigator_workspace" / "convert_results.yaml").read_text())
    return run.returncode, {each["conversion"].split("/")[-1]: each for each in report["results"]}


def used(result: dict[str, Any]) -> dict[str, bool]:
    """Return the names of the samples, and whether each calibrated."""
    return {each["name"]: each["calibration"] for each in result["samples"]}


@pytest.mark.parametrize(
    ("arguments", "samples"),
    [
        pytest.param(("--samples", "0.npy", "1.npy", "2.npy"), {"0": True, "1": False, "2": True}, id="split"),
        pytest.param(("--samples", "0.npy", "--calibration-samples", "1.npy"), {"1": True, "0": False}, id="files"),
    ],
)
def test_int8_is_compared_on_samples_that_it_was_not_calibrated_on(
    tmp_path: Path, arguments: Sequence[str], samples: dict[str, bool]
) -> None:
    code, found = results(tmp_path, PLAIN, *arguments, "--no-fail-on-unverified")

    int8 = found["onnx_int8_single"]
    assert (code, int8["status"]["state"]) == (0, "passed")
    assert used(int8) == samples
    assert int8["comparisons"][0]["samples"] == list(samples.values()).count(False)
    assert used(found["trt-rtx_int8_single"]) == samples


@pytest.mark.parametrize(
    ("arguments", "same", "remedy"),
    [
        pytest.param((), "the same random inputs", "set samples to two or more files of real inputs", id="random"),
        pytest.param(("--samples", "0.npy"), "the same samples", "add another file to samples", id="one-sample"),
    ],
)
def test_int8_that_is_compared_on_what_it_was_calibrated_on_is_unverified(
    tmp_path: Path, arguments: Sequence[str], same: str, remedy: str
) -> None:
    code, found = results(tmp_path, PLAIN, *arguments)

    assert code == 1
    int8, engine = found["onnx_int8_single"], found["trt-rtx_int8_single"]
    assert int8["status"]["state"] == "unverified"
    assert int8["status"]["message"].endswith(f"it was calibrated and compared on {same}")
    assert int8["remedy"].startswith(remedy)
    assert int8["comparisons"][0]["passed"]
    # It's built all the same: with an error in the file it would be blocked.
    assert engine["status"]["state"] == "unverified"
    assert engine["output_model"]["properties"]["calibrated"] is True


def test_a_quantized_model_needs_no_samples(tmp_path: Path) -> None:
    _, found = results(tmp_path, QUANTIZED)

    int8 = found["onnx_int8_single"]
    assert int8["status"]["state"] == "passed"
    assert set(used(int8).values()) == {False}
    assert "calibrated" not in found["trt-rtx_int8_single"]["output_model"]["properties"]
