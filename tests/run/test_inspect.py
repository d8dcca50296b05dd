"""`inspect` and `validate` on models as users have them, and on files that they have instead of a model."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.run.test_command_line import navigator


def test_a_model_is_described(project: Path) -> None:
    done = navigator(project, "inspect", "tiny.onnx")

    assert (done.returncode, done.stderr) == (0, "")
    size = f"{(project / 'tiny.onnx').stat().st_size} B"
    assert done.stdout == (
        f"tiny.onnx: onnx, {size}, opset 13 of ai.onnx\n"
        "inputs\n"
        "  x  float32  [batch, 4]\n"
        "outputs\n"
        "  y  float32  [batch, 3]\n"
        "  z  float32  [batch, 4]\n"
        "operators: MatMul 1, Sigmoid 1, Tanh 1\n"
        "quantized: no\n"
        "training mode: no\n"
    )


def test_programs_read_json(project: Path) -> None:
    described = json.loads(navigator(project, "inspect", "tiny.onnx", "--json").stdout)

    assert described["inputs"] == [
        {"name": "x", "dtype": "float32", "shape": ["batch", 4], "ranges": {}, "values": None}
    ]
    assert described["dynamic_axes"] == [{"input": "x", "axis": 0, "size": "batch"}]
    assert (described["opsets"], described["custom_operators"]) == ({"ai.onnx": 13}, [])


def test_values_are_found_in_a_worker(project: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = numpy_helper.from_array(np.zeros((30, 2), np.float32), "table")
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([helper.make_node("Gather", ["table", "ids"], ["y"])], "g", [ids], [y], [table])
    onnx.save(helper.make_model(graph), project / "ids.onnx")

    done = navigator(project, "inspect", "ids.onnx")

    assert "values of ids: 0 to 29 (rows of table)\n" in done.stdout, done.stderr


def test_a_sign_that_matters_is_no_range_of_values(project: Path) -> None:
    import onnx

    text = '<ir_version: 8, opset_import: ["" : 17]> m (float[n] x, int64[n] i) => (float[n] y, int64[n] z)'
    onnx.save(onnx.parser.parse_model(f"{text} {{ y = Relu(x) z = Abs(i) }}"), project / "signs.onnx")

    assert "values" not in navigator(project, "inspect", "signs.onnx").stdout
    assert navigator(project, "init", "signs.onnx", "--output", "signs.yaml").returncode == 0
    assert "values of" not in (project / "signs.yaml").read_text()


def _pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def _lost_weights(path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros(600, np.float32), "w")
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [600])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [y], [weight])
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def _truncated(path: Path) -> None:
    path.write_bytes((path.parent / "tiny.onnx").read_bytes()[:150])


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/models/model.json", b" " * (2**26 + 1))


def _directory(path: Path) -> None:
    path.mkdir()


def _garbage(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("code/__torch__.py", "constants.pkl", "data.pkl"):
            archive.writestr(f"m/{name}", b"\x80garbage")


RANK = "expected 2 axes as stored in the model ([-1, 4])"

BROKEN = {
    "pointer.onnx": (_pointer, 2, "is a Git LFS pointer, not the model"),
    "lost.onnx": (_lost_weights, 2, "stores weights in 'weights.bin', which"),
    "cut.onnx": (_truncated, 2, "is truncated: expected at least"),
    "empty": (_directory, 2, "is a directory without saved_model.pb"),
    "none.onnx": (lambda _: None, 2, "none.onnx does not exist"),
    "code.pt": (_garbage, 1, "can't be loaded as TorchScript"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_model_is_told_in_a_line_with_a_remedy(project: Path, name: str) -> None:
    make, code, said = BROKEN[name]
    make(project / name)

    done = navigator(project, "inspect", name)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 2
    if code == 2:
        checked = navigator(project, "validate", name)
        assert checked.returncode == 2
        assert said in checked.stderr


def test_a_program_that_unpacks_to_more_than_any_has_is_not_unpacked(project: Path) -> None:
    _bomb(project / "bomb.pt2")

    done = navigator(project, "validate", "bomb.pt2")

    assert done.returncode == 0
    assert "bomb: its inputs and outputs: its program has more than 64 MiB\n" in done.stdout


def test_names_and_shapes_that_the_model_does_not_have_are_told_before_it_runs(project: Path) -> None:
    (project / "navigator.yaml").write_text(
        "model_name: tiny\n"
        "model_path: tiny.onnx\n"
        "min_shapes: {X: [1, 4]}\n"
        "max_shapes: {x: [8, 4, 4]}\n"
        "value_ranges: {y: [0, 1]}\n"
        "atol: {zz: 1}\n"
    )

    done = navigator(project, "validate")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "navigator.yaml:3:14: min_shapes: the model has no input 'X'; did you mean 'x'?",
        f"navigator.yaml:4:14: max_shapes: x: {RANK}, got 3; include the batch axis in both",
        "navigator.yaml:5:16: value_ranges: the model has no input 'y'; the model's inputs are x",
        "navigator.yaml:6:8: atol: the model has no output 'zz'; did you mean 'z'?",
    ]
    for given, said in {
        "X:-1,4:float32": "X is declared, but the model has no input of that name; remove inputs, or set `inputs: [",
        "x:-1,4:float16": "x is declared as float16, but the model has float32",
        "x:-1,3,4:float32": "x is declared as [-1, 3, 4], but the model has [-1, 4]",
    }.items():
        assert f"--inputs: {said}" in navigator(project, "validate", "tiny.onnx", "--inputs", given).stderr
    fixed = navigator(project, "validate", "tiny.onnx", "--max-shapes", "x=8,5")
    assert "x: expected size 4 on axis 1 as stored in the model, got 5; write 4" in fixed.stderr


def test_what_only_running_shows_is_said(project: Path) -> None:
    import onnx

    model = onnx.load(project / "tiny.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, project / "wide.onnx")

    done = navigator(project, "validate", "wide.onnx")
    limited = navigator(project, "validate", "wide.onnx", "--max-shapes", "x=8,4")

    assert done.stdout == (
        "wide.onnx: valid, 1 model\nnot known without running:\n  wide: the largest size of x axis 1 (width)\n"
    )
    assert limited.stdout == "wide.onnx: valid, 1 model\n"


def test_what_a_file_beside_torchscript_declares_is_known(project: Path) -> None:
    code = (
        "import torch; scripted = torch.jit.script(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.1))); "
        "torch.jit.save(scripted, 'm.pt')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=project, check=True)

    alone = json.loads(navigator(project, "inspect", "m.pt", "--json").stdout)
    (project / "m.pt.yaml").write_text("inputs: x:-1,4:float32\n")
    beside = json.loads(navigator(project, "inspect", "m.pt", "--json").stdout)

    assert [(each["name"], each["shape"], each["dtype"]) for each in alone["inputs"]] == [("input", None, "")]
    assert alone["unknown"] == ["the shapes and types of its inputs and outputs, which TorchScript files don't store"]
    assert [(each["name"], each["shape"], each["dtype"]) for each in beside["inputs"]] == [("x", [-1, 4], "float32")]
    assert beside["unknown"] == []
    assert (alone["training"], alone["quantized"]) == (True, False)
    assert {"aten::relu", "aten::dropout"} <= alone["operators"].keys()


POWERS = """
import sys, torch

class Power(torch.nn.Module):
    def forward(self, x, y):
        return x ** y

for name, dtype in (("power", torch.int64), ("floats", torch.float32)):
    torch.export.save(torch.export.export(Power(), 2 * (torch.ones(2, 3, dtype=dtype),)), f"{sys.argv[1]}/{name}.pt2")
"""


def test_plan_tells_what_inspect_tells_of_the_export_of_a_program(project: Path) -> None:
    subprocess.run([sys.executable, "-c", POWERS, project], check=True)

    def planned(*arguments: str) -> list[str]:
        (model,) = json.loads(navigator(project, "plan", *arguments, "--json").stdout)["models"]
        return list(model["notes"])

    (told,) = json.loads(navigator(project, "inspect", "power.pt2", "--json").stdout)["notes"]
    assert "aten::pow" in told
    assert planned("power.pt2") == [told]
    assert planned("power.pt2", "--target-formats", "torch-trt") == []
    assert planned("floats.pt2") == []
    assert "note: exported to something else" in navigator(project, "plan", "power.pt2").stdout
