"""Wrong weights that no output shows: whole runs."""

from pathlib import Path
from typing import Any

import pytest

SABOTAGE = """
import numpy as np
import onnx.version_converter

convert_version = onnx.version_converter.convert_version

def sabotaged(model, opset):
    converted = convert_version(model, opset)
    for tensor in converted.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[2, 1] += np.float32(1e-3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return converted

onnx.version_converter.convert_version = sabotaged
"""

CONFIGURATION = """
defaults: {model_path: tiny.onnx, target_formats: onnx, onnx_opsets: 17, atol: 1, rtol: 1, max_batch_size: 4}
models:
  - {model_name: compared}
  - {model_name: trusted, compare_weights: false}
"""


@pytest.fixture
def results(convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> tiny (float[batch, 4] x) => (float[batch, 3] y)'
        " <float[4, 3] table = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2}> { y = MatMul(x, table) }"
    )
    onnx.save(model, project / "tiny.onnx")
    (project / "sabotage").mkdir()
    (project / "sabotage" / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(project / "sabotage"))
    code, found = convert(CONFIGURATION)
    assert code == 1
    return {each["model_name"]: each for each in found["results"]}


@pytest.mark.fault(
    "A weight in an ONNX file is wrong, and all outputs are within tolerance",
    "The conversion is a mismatch that names the weight, with any tolerances.",
)
def test_a_wrong_weight_is_a_mismatch_with_any_tolerances(results: Any) -> None:
    found = results["compared"]

    assert found["status"]["state"] == "mismatched"
    assert found["status"]["message"].startswith(
        "weight table[2, 1] is 0.801 instead of 0.8 (in table, 1 of 12 elements differ); all outputs within tolerance"
    )
    assert found["suggested_tolerances"] is None
    assert all(each["passed"] for each in found["comparisons"])
    assert {key: found["weights"][key] for key in ("tensors", "recognised", "elements", "recognised_elements")} == {
        "tensors": 1,
        "recognised": 1,
        "elements": 12,
        "recognised_elements": 12,
    }


def test_weights_are_not_compared_on_request(results: Any) -> None:
    assert results["trusted"]["status"]["state"] == "passed"
    assert results["trusted"]["weights"] is None
