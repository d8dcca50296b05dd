"""What a failure says to do helps: its lines are pasted into the configuration that failed, which then passes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper, save  # noqa: TID253 - makes the models

_LINE = re.compile(r"`(\w+: [^`]+)`")

BASE = "model_name: m\nmodel_path: m.onnx\ntarget_formats: onnx\n"


def pasted(text: str, remedy: str) -> str:
    """Return a configuration with the lines of an advice, which replace its own."""
    lines = [yaml.safe_load(line) for line in _LINE.findall(remedy)]
    assert lines, remedy
    merged = yaml.safe_load(text)
    for line in lines:
        merged |= line
    return yaml.safe_dump(merged)


@pytest.fixture
def fours(project: Path) -> None:
    """Write an ONNX file that takes x [batch, length] where the length is a multiple of 4, from 8."""
    import numpy as np

    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["rest"]),
        helper.make_node("Reshape", ["rest", "shape"], ["most"]),
        helper.make_node("ReduceMean", ["most"], ["y"], axes=[1], keepdims=0),
    ]
    constants = {"start": [4], "end": [2**31], "axis": [1], "shape": [0, -1, 4]}
    graph = helper.make_graph(
        nodes,
        "fours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), project / "m.onnx")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param("min_shapes: {x: [1, 6]}\n", "fails on x [1, 6]", id="refused_min"),
        pytest.param("max_shapes: {x: [4, 30]}\n", "fails on x [4, 30]", id="refused_max", marks=pytest.mark.nightly),
        pytest.param(
            "min_shapes: {x: [1, 8]}\nopt_shapes: {x: [1, 9]}\nmax_shapes: {x: [1, 16]}\n",
            "x [1, 9]",
            id="refused_opt",
            marks=pytest.mark.nightly,
        ),
        pytest.param("probe: false\n", "has no maximum size", id="no_probe"),
    ],
)
@pytest.mark.usefixtures("fours")
def test_shapes_that_fail_are_told_with_those_that_pass(
    convert: Callable[..., tuple[int, dict[str, Any]]], given: str, told: str
) -> None:
    code, results = convert(BASE + given)
    result = results["results"][0]
    assert code == 1
    assert told in result["status"]["message"]

    code, results = convert(pasted(BASE + given, result["remedy"]))
    assert code == 0, results["results"][0]["status"]["message"]
