"""A source model that is random itself: its conversions end with the operation and what to do, and never pass."""

from pathlib import Path
from typing import Any

import onnx  # noqa: TID253 - makes the model
import pytest


@pytest.mark.fault(
    "The source model draws random numbers, such as a mask or a dropout left active",
    "Its conversions fail and name the operation. No tolerance is made from the noise.",
)
def test_a_source_model_that_draws_its_mask_is_told_so(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]> masked (float[b, 40] x) => (float[b, 40] y) {
        mask = RandomUniformLike(x)
        y = Mul(x, mask)
    }"""
    onnx.save(onnx.parser.parse_model(text), project / "masked.onnx")

    code, results = convert("model_name: masked\nmodel_path: masked.onnx\ntarget_formats: onnx\nonnx_opsets: 17\n")

    assert code == 1
    (result,) = results["results"]
    assert (result["status"]["state"], result["comparisons"]) == ("blocked", [])
    assert "it draws random numbers with RandomUniformLike. Run twice on sample 'min'" in result["status"]["message"]
    assert result["remedy"].startswith("make what it draws an input of the model")
    assert "how to fix: make what it draws an input of the model" in capsys.readouterr().out
