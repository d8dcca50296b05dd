"""Conversions that are right for some shapes only: whole runs, in which nothing but the right one may pass."""

from pathlib import Path
from typing import Any

import pytest

from tests.run.conftest import Sabotage

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
    convert: Any, project: Path, sabotage: Sabotage
) -> None:
    import onnx

    model = onnx.parser.parse_model(SOURCE)
    onnx.save(model, project / "model.onnx")
    sabotage(WRONG)

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


SQUARES = """
<ir_version: 8, opset_import: ["" : 13]>
squares (float[batch, height, width] x) => (float[batch, rows, columns] y)
{
    turned = Transpose<perm = [0, 2, 1]>(x)
    y = Add(x, turned)
}
"""

# The sizes of its inputs' axes are only right together. The parser takes no expressions: `total` becomes `past + seq`.
STEP = """
<ir_version: 8, opset_import: ["" : 13]>
step (float[batch, seq] x, float[batch, total] mask, float[batch, past] state) => (float[batch, total] y)
{
    whole = Concat<axis = 1>(state, x)
    y = Mul(whole, mask)
}
"""


def test_sizes_follow_the_file_and_what_the_source_model_refuses_is_left_out(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    onnx.save(onnx.parser.parse_model(SQUARES), project / "squares.onnx")
    step = onnx.parser.parse_model(STEP)
    for value in (step.graph.input[1], step.graph.output[0]):
        value.type.tensor_type.shape.dim[1].dim_param = "past + seq"
    onnx.save(step, project / "step.onnx")

    code, results = convert(
        """
        defaults: {target_formats: onnx, onnx_opsets: 17}
        models:
          - model_name: squares
            model_path: squares.onnx
            max_shapes: {x: [4, 8, 8]}
            min_shapes: {x: [1, 4, 4]}
          - model_name: step
            model_path: step.onnx
            max_shapes: {x: [4, 8], state: [4, 32]}
        """
    )

    assert code == 0
    squares, step = results["results"]
    refused = {each["name"] for each in squares["samples"] if each["refused"]}
    assert refused == {"random_0", "uneven_0", "uneven_1"}
    assert {"min", "opt", "random_1", "batch_max", "batch_min"} <= {each["name"] for each in squares["samples"]}
    assert "sample uneven_0 was skipped: the source model can't run it" in capsys.readouterr().out
    shapes = {each["name"]: each["shapes"] for each in step["samples"]}
    assert not any(each["refused"] for each in step["samples"])
    assert len({(each["x"][1], each["state"][1]) for each in shapes.values()} & {(1, 1), (1, 32), (8, 1), (8, 32)}) == 4
    assert all(each["mask"][1] == each["x"][1] + each["state"][1] for each in shapes.values())
    assert "step: sizes from the model's file: mask[1] = state[1] + x[1]" in results["notes"]
