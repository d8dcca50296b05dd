"""Conversions that are right for some shapes only: whole runs, in which nothing but the right one may pass."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

# x [batch, 1, height, width] -> y of the same shape: x / width + 1.
SOURCE = """
<ir_version: 8, opset_import: ["" : 13]>
model (float[batch, 1, height, width] x) => (float[batch, 1, rows, columns] y)
<int64[1] two = {2}, int64[1] three = {3}, float one = {1}>
{
    shape = Shape(x)
    size = Gather(shape, three)
    width = Cast<to: int = 1>(size)
    scaled = Div(x, width)
    y = Add(scaled, one)
}
"""

# By opset: what is done to the model that the converter returns.
WRONG = """
    import onnx, onnx.version_converter
    from onnx import helper, numpy_helper
    import numpy as np

    convert_version = onnx.version_converter.convert_version

    def behind(graph, nodes, constants):
        graph.node[-1].output[0] = "before"
        graph.node.extend(onnx.parser.parse_graph("g () => () {" + nodes + "}").node)
        graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())

    def planted(model, opset):
        model = convert_version(model, opset)
        graph = model.graph
        if opset == 14:  # divides by the height: right for squares only
            next(node for node in graph.node if node.op_type == "Gather").input[1] = "two"
        elif opset == 15:  # returns [batch, 1, width, height]
            behind(
                graph,
                "sizes = Gather(shape, order) y = Reshape(before, sizes)",
                {"order": [0, 1, 3, 2]},
            )
        elif opset == 16:  # the last row is 0, except at batch 1 and at the largest batch
            behind(
                graph,
                "rows = Gather(shape, first) even = Equal(rows, ends) some = Cast<to: int = 6>(even)"
                "sum = ReduceSum(some) fine = Cast<to: int = 1>(sum) last = Sub(rows, unit) n = Squeeze(rows)"
                "index = Range(zero, n, step) islast = Equal(index, last) lastf = Cast<to: int = 1>(islast)"
                "wrong = Sub(onef, fine) off = Mul(lastf, wrong) keep = Sub(onef, off)"
                "column = Unsqueeze(keep, axes) y = Mul(before, column)",
                {
                    "first": [0], "ends": [1, 4], "unit": [1], "zero": 0, "step": 1,
                    "onef": np.float32(1), "axes": [1, 2, 3],
                },
            )
        return model

    onnx.version_converter.convert_version = planted
"""


@pytest.mark.fault("A conversion is right for square images, or for some batches only", "The conversion is a mismatch.")
def test_an_export_that_is_right_for_some_shapes_only_does_not_pass(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    model = onnx.parser.parse_model(SOURCE)
    onnx.save(model, project / "model.onnx")
    directory = project / "sabotage"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(textwrap.dedent(WRONG))
    monkeypatch.setenv("PYTHONPATH", str(directory))

    code, results = convert(
        """
        model_name: image
        model_path: model.onnx
        target_formats: onnx
        onnx_opsets: [14, 15, 16, 17]
        min_shapes: {x: [1, 1, 4, 4]}
        max_shapes: {x: [4, 1, 8, 8]}
        """
    )

    states = {each["conversion"]: each["status"]["state"] for each in results["results"]}
    assert code == 1
    assert states == {
        "onnx_op14": "mismatched",
        "onnx_op15": "mismatched",
        "onnx_op16": "mismatched",
        "onnx_op17": "passed",
    }
    shapes = {each["name"]: each["shapes"]["x"] for each in results["results"][3]["samples"]}
    assert (shapes["uneven_0"], shapes["uneven_1"]) == ([1, 1, 4, 8], [1, 1, 8, 4])
