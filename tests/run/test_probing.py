"""Three lines are enough: what neither the file nor the user says is found by running the model, and told."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from onnx import TensorProto, helper, numpy_helper, save  # noqa: TID253 - makes the models

from navigator.cli import main
from navigator.config.schema import schema_path

FOURS = "model_name: fours\nmodel_path: fours.onnx\ntarget_formats: onnx\n"


@pytest.fixture
def fours(project: Path) -> str:
    """Return an ONNX file that takes x [batch, length] where the length is a multiple of 4."""
    reshaped(project / "fours.onnx", ["batch", "length"], [0, -1, 4])
    return FOURS


def reshaped(path: Path, inputs: list[Any], shape: list[int]) -> None:
    """Write an ONNX file that reshapes x."""
    import numpy as np

    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "reshaped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(np.array(shape), "shape")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def shapes(results: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["shapes"] for each in results["results"][0]["samples"]}


def test_three_lines_are_enough_and_what_is_found_can_be_pasted(
    convert: Any, fours: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = convert(fours)

    assert code == 0
    found = results["found"]
    assert [(each["model_name"], each["min_shapes"], each["max_shapes"]) for each in found] == [
        ("fours", {"x": [1, 4]}, {"x": [128, 512]})
    ]
    schema = json.loads(schema_path("convert_results.schema.json").read_text())
    jsonschema.validate(results, schema)
    printed = capsys.readouterr().out
    assert (
        "found by running the model: x[0]: 1 to 128 (the default of max_batch_size); x[1]: 4 to 512 in steps of 4"
        in printed
    )
    lines = printed.split("to keep this, add to the model in navigator.yaml:\n")[1].splitlines()
    block = "\n".join(line.strip() for line in lines if line.startswith("    "))
    assert f"```yaml\n{block}\n```" in (project / "navigator_workspace/summary.md").read_text()

    code, again = convert(f"{fours}{block}\n")

    assert code == 0
    assert again["found"] == []
    assert shapes(again) == shapes(results)


def test_a_probe_that_is_switched_off_asks_for_the_sizes_and_what_it_advises_helps(convert: Any, fours: str) -> None:
    code, results = convert(f"{fours}probe: false\n")

    assert code == 1
    result = results["results"][0]
    assert "input 'x' [-1, -1] has no maximum size on axis 1" in result["status"]["message"]
    assert result["remedy"].startswith("set `probe: true` to find them by running the model, or set max_shapes")
    assert convert(f"{fours}probe: true\n")[0] == 0


def test_what_was_found_is_kept_with_the_conversions_made_for_it(convert: Any, fours: str) -> None:
    _, first = convert(f"{fours}cache_path: cache\n")
    code, second = convert(f"{fours}cache_path: cache\n")

    assert code == 0
    assert second["results"][0]["cached"]
    assert second["found"] == first["found"]
    # Another tolerance is another verdict on the same artifact, in the same shapes.
    _, third = convert(f"{fours}cache_path: cache\natol: 0.1\n")
    assert shapes(third) == shapes(first)


def test_plan_says_what_will_be_asked_and_asks_nothing(
    fours: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "navigator.yaml").write_text(fours)
    assert main(["plan", "navigator.yaml"]) == 0
    assert "note: if its file leaves sizes of axes open, they're found by running the model" in capsys.readouterr().out
    (project / "navigator.yaml").write_text(f"{fours}probe: false\n")
    assert main(["plan", "navigator.yaml"]) == 0
    assert "found by running" not in capsys.readouterr().out


def test_a_model_that_runs_nowhere_says_what_was_tried(convert: Any, project: Path) -> None:
    reshaped(project / "odd.onnx", [2, "long"], [2, 99991])
    code, results = convert("model_name: odd\nmodel_path: odd.onnx\ntarget_formats: onnx\n")

    assert code == 1
    result = results["results"][0]
    assert (
        "neither its file nor navigator.yaml says how large x [2, -1] gets, and the source model refused all of the"
        in result["status"]["message"]
    )
    assert "set min_shapes and max_shapes to sizes that it takes" in result["remedy"]
    given = "min_shapes: {x: [2, 99991]}\nmax_shapes: {x: [2, 99991]}\n"
    assert convert(f"model_name: odd\nmodel_path: odd.onnx\ntarget_formats: onnx\n{given}")[0] == 0


def test_a_declared_shape_that_is_wrong_is_noticed(convert: Any, project: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), project / "fixed.onnx")

    _, results = convert("model_name: fixed\nmodel_path: fixed.onnx\ntarget_formats: onnx\n")

    told = "fixed: the model's file declares output y as [1, 4], but it is [128, 4] in sample opt: export it again"
    assert told in results["notes"]
