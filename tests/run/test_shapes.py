"""Shapes that the source model does not take: those that nobody asked for are left out, the others are told."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper, numpy_helper, save  # noqa: TID253 - makes the model


@pytest.fixture
def fours(project: Path) -> str:
    """Return an ONNX file that takes x [batch, length] where the length is a multiple of 4."""
    import numpy as np

    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "fours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "fours", 4])],
        [numpy_helper.from_array(np.array([0, -1, 4]), "shape")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), project / "fours.onnx")
    return "model_name: fours\nmodel_path: fours.onnx\ntarget_formats: onnx\nonnx_opsets: 17\n"


def test_random_shapes_that_the_source_model_refuses_are_left_out_and_named(
    convert: Any, fours: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # At one batch, the draws between 60 and 64 are 61 to 63.
    code, results = convert(f"{fours}min_shapes: {{x: [1, 60]}}\nmax_shapes: {{x: [1, 64]}}\n")

    assert code == 0
    samples = {sample["name"]: sample["refused"] for sample in results["results"][0]["samples"]}
    assert samples["min"] == samples["opt"] == ""
    assert "ONNX Runtime fails on x [1, 6" in samples["random_0"]
    assert results["results"][0]["comparisons"][0]["samples"] == sum(not refused for refused in samples.values()) == 5
    told = "sample random_0 was skipped: the source model can't run it: ONNX Runtime fails on x [1, 6"
    assert told in capsys.readouterr().out
    assert "sample random\\_0 was skipped" in (project / "navigator_workspace/summary.md").read_text()


def test_shapes_that_were_asked_for_and_refused_block_the_cells_with_what_to_do(
    convert: Any, fours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = convert(f"{fours}min_shapes: {{x: [1, 1]}}\nmax_shapes: {{x: [1, 64]}}\n")

    assert code == 1
    result = results["results"][0]
    assert result["status"]["state"] == "blocked"
    assert "ONNX Runtime fails on x [1, 1]" in result["status"]["message"]
    advice = "running the model shows shapes that it takes: set `min_shapes: {x: [1, 4]}`"
    assert advice in result["remedy"]
    assert f"how to fix: {advice}" in capsys.readouterr().out
