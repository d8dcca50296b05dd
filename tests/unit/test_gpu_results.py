"""What a visit to a GPU brings back becomes the table of the documentation."""

import json
from pathlib import Path
from typing import Any

import gpu_results
import pytest
import yaml

ENVIRONMENT = {
    "python": "3.12.3",
    "gpus": [{"name": "NVIDIA H200", "driver_version": "580"}],
    "versions": {"tensorrt": "10.6.0", "numpy": "2"},
}
JUNIT = """<testsuites><testsuite><testcase name="passes"/>
<testcase name="fails"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase name="waits"><skipped message="one GPU here"/></testcase><testcase time="0.000"/></testsuite></testsuites>"""


def result(precision: str, state: str, error: float | None) -> dict[str, Any]:
    comparison = {"reference_min": -4.0, "reference_max": 2.0, "max_abs_error": error, "device": "cuda"}
    return {
        "model_name": "resnet50",
        "conversion": f"onnx_op13/trt_{precision}",
        "intermediate": False,
        "source_model_config": {"model_format": "torchscript"},
        "conversion_config": {
            "target_format": "trt",
            "tensorrt_config": {"precision": precision, "optimization_level": 1},
        },
        "status": {"state": state, "message": "can't | build"},
        "comparisons": [{**comparison, "device": "cpu", "max_abs_error": 3.0}, comparison] if error else [],
        "seconds": {"convert": 20.04, "verify": 1.0},
    }


def visit(directory: Path, *results: dict[str, Any]) -> Path:
    (directory / "run" / "workspace").mkdir(parents=True)
    report = {"environment": ENVIRONMENT, "results": list(results)}
    (directory / "run" / "workspace" / "convert_results.yaml").write_text(yaml.safe_dump(report))
    (directory / "engines").mkdir()
    (directory / "engines" / "junit.xml").write_text(JUNIT)
    (directory / "visit.json").write_text(json.dumps({"date": "2026-11-30"}))
    return directory


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(gpu_results, "RESULTS", tmp_path / "results.yaml")
    return tmp_path / "results.yaml"


def test_a_visit_becomes_a_table_and_a_later_one_replaces_what_it_repeats(tmp_path: Path, results: Path) -> None:
    gpu_results.add([visit(tmp_path / "one", result("fp32", "failed", None), result("fp16", "passed", 0.02))])
    gpu_results.add([visit(tmp_path / "two", result("fp32", "passed", 4e-6))])

    (run,) = yaml.safe_load(results.read_text())
    assert [(each["conversion"], each["state"], each["error"]) for each in run["conversions"]] == [
        ("onnx_op13/trt_fp16", "passed", 0.005),
        ("onnx_op13/trt_fp32", "passed", 1e-6),
    ]
    text = gpu_results.gpu_results()
    assert "**NVIDIA H200**, driver 580, on 2026-11-30: Python 3.12.3, tensorrt 10.6.0." in text
    assert "| resnet50 | torchscript → onnx → trt | passed, 1e-06 | passed, 0.005 | not run |" in text
    assert "Tests (engines): 1 passed, 1 failure, 1 skipped. Not passed: fails (failure: assert 1 == 2); waits" in text


def test_a_refusal_is_quoted(tmp_path: Path) -> None:
    gpu_results.add([visit(tmp_path / "one", result("int8", "failed", None))])

    assert "| not run | not run | failed: can't \\| build |" in gpu_results.gpu_results()


def test_without_results_none_are_claimed(results: Path) -> None:
    results.write_text("[]")
    assert gpu_results.gpu_results() == "No results of a run on a GPU are kept yet."
