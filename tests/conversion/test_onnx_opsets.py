"""Other opsets of ONNX files: what changes nothing but the number, and what the version converter leaves behind."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from navigator.errors import StepError
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.frameworks.onnx.weights import tensors
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from tests.conversion.typed_onnx import written
from tests.support.exports import floats

NOTHING = Signature(inputs=(), outputs=())


def change(source: Path, tmp_path: Path, opset: int) -> tuple[Path, str]:
    destination = tmp_path / f"opset_{opset}" / "model.onnx"
    destination.parent.mkdir()
    return destination, onnx_opsets.change(source, destination, opset)


def run(path: Path, **inputs: np.ndarray) -> np.ndarray:
    return onnx_runner.load(path, declared=NOTHING).infer(inputs)["y"]


MLP = """
"" : 15
mlp (float[n, 4] x) => (float[n, 3] y) {
    m = MatMul(x, w) r = Relu(m) s = Sigmoid(r) t = Transpose<perm = [1, 0]>(s) y = Transpose<perm = [1, 0]>(t)
}
"""


@pytest.mark.parametrize("opset", [14, 13, 11, 9, 8])
def test_where_all_operators_are_the_same_only_the_number_changes(tmp_path: Path, opset: int) -> None:
    source = written(tmp_path / "m.onnx", MLP, {"w": floats((4, 3))})

    lowered, how = change(source, tmp_path, opset)

    assert how == f"declared as opset {opset} instead of 15: its operators are the same in both"
    assert onnx.load(lowered).graph == onnx.load(source).graph
    x = floats((5, 4))
    np.testing.assert_array_equal(run(lowered, x=x), run(source, x=x))


@pytest.mark.parametrize("places", [[1, 5, 10], [[0, 1], [1, 2], [3, 1]]])
def test_sparse_weights_are_kept(tmp_path: Path, places: list[Any]) -> None:
    source = written(tmp_path / "m.onnx", MLP)
    model = onnx.load(source)
    values = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [3], [0.5, -1, 2])
    indices = onnx.numpy_helper.from_array(np.array(places), "places")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4, 3]))
    onnx.save(model, source)

    raised, _ = change(source, tmp_path, 18)

    x = floats((5, 4))
    np.testing.assert_allclose(run(raised, x=x), run(source, x=x), rtol=1e-6)


@pytest.mark.parametrize("opset", [8, 13, 18])
def test_weights_need_not_be_inputs_of_the_oldest_files(tmp_path: Path, opset: int) -> None:
    source = written(tmp_path / "m.onnx", MLP.replace('"" : 15', '"" : 7'), {"w": floats((4, 3))})
    model = onnx.load(source)
    model.ir_version = 3
    onnx.save(model, source)

    raised, _ = change(source, tmp_path, opset)

    assert [value.name for value in onnx.load(raised).graph.input] == ["x"]
    x = floats((5, 4))
    np.testing.assert_allclose(run(raised, x=x), run(source, x=x), rtol=1e-6)


@pytest.mark.parametrize(
    ("opset", "graph"),
    [
        # An attribute of the newer opset is given, and one whose default is another.
        (13, '"" : 14\nm (float[n, 4] x, int64[k] s) => (float[a, b] y) { y = Reshape<allowzero = 1>(x, s) }'),
        (11, '"" : 13\nm (float[n, 4, 2] x) => (float[n, 4, 2] y) { y = Hardmax(x) }'),
        # An input was an attribute; the meaning changed although the signature didn't.
        (12, '"" : 13\nm (float[n, 4] x) => (float[n] y) { a = Constant<value_ints = [1]>() y = ReduceSum(x, a) }'),
        (15, '"" : 16\nm (float[1, 2, 8, 8] x, float[k, 4] r, int64[k] b) => (float y) { y = RoiAlign(x, r, b) }'),
    ],
)
def test_what_means_something_else_is_not_renumbered(tmp_path: Path, opset: int, graph: str) -> None:
    source = written(tmp_path / "m.onnx", graph)
    with pytest.raises(StepError) as refusal:
        change(source, tmp_path, opset)
    assert refusal.value.message.startswith("onnx.version_converter can't change opset")
    assert refusal.value.hint.startswith(f"lowering an opset rarely works: export the model at opset {opset}")
    assert list((tmp_path / f"opset_{opset}").iterdir()) == []


TREES = """
"ai.onnx.ml" : 1
trees (float[n, 2] x) => (float[n, 1] y) {
    y = ai.onnx.ml.TreeEnsembleRegressor <
        n_targets = 1, post_transform = "NONE", nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2],
        nodes_featureids = [1, 0, 0], nodes_values = [0.5, 0.0, 0.0], nodes_modes = ["BRANCH_LT", "LEAF", "LEAF"],
        nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0], nodes_missing_value_tracks_true = [0, 0, 0],
        nodes_hitrates = [1.0, 1.0, 1.0], target_treeids = [0, 0], target_nodeids = [1, 2], target_ids = [0, 0],
        target_weights = [-1.0, 2.0]
    > (x)
}
"""


def test_a_model_without_operators_of_the_default_domain_fits_every_opset(tmp_path: Path) -> None:
    source = written(tmp_path / "trees.onnx", TREES)
    assert onnx_runner.load(source, declared=NOTHING).properties.onnx_opset is None

    declared, how = change(source, tmp_path, 15)

    assert how == "declared as opset 15"
    assert {entry.domain: entry.version for entry in onnx.load(declared).opset_import} == {"": 15, "ai.onnx.ml": 1}
    x = np.array([[9, 0], [9, 1]], np.float32)
    np.testing.assert_array_equal(run(declared, x=x), [[-1], [2]])


# The mean of the whole array decides; both branches, and a branch in a branch, take the mean of rows off.
BRANCHES = """
"" : 17
gate (float[n, 8] x) => (float[n, 1] y) {
    level = ReduceMean<axes = [0, 1], keepdims = 0>(x)
    half = Constant<value = float {0.5}>()
    loud = Greater(level, half)
    y = If(loud) <
        then_branch = one () => (float[n, 1] a) {
            m = ReduceMean<axes = [1]>(x) d = Sub(x, m) p = Abs(d) a = ReduceMean<axes = [1]>(p)
        },
        else_branch = two () => (float[n, 1] b) {
            m2 = ReduceMean<axes = [1]>(x) d2 = Sub(x, m2)
            b = If(loud) <
                then_branch = three () => (float[n, 1] c) { c = ReduceMean<axes = [1]>(d2) },
                else_branch = four () => (float[n, 1] e) { q = Mul(d2, d2) e = ReduceMean<axes = [1]>(q) }
            >
        }
    >
}
"""


def test_large_weights_stay_what_they_are_wherever_they_are_stored(tmp_path: Path) -> None:
    weights = [np.full((200, 100), number, np.float32) for number in range(3)]
    text = """
        <ir_version: 8, opset_import: ["" : 13]> m (float[n, 200] x, bool c) => (float[n, 100] y) {
            a = MatMul(x, one) d = Constant<value = float {0}>()
            b = If(c) <
                then_branch = t () => (float[200, 100] p) { p = Constant<value = float {1}>() },
                else_branch = e () => (float[200, 100] q) { q = Constant<value = float {2}>() }
            >
            f = MatMul(x, b) g = MatMul(x, d) h = Add(a, f) y = Add(g, h)
        }
    """
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights[0] + 7, "one"))
    for tensor in tensors(model):
        if not tensor.dims:
            values = weights[int(onnx.numpy_helper.to_array(tensor))]
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    before = {each.raw_data for each in tensors(model)}
    assert len(before) == 4

    path, _ = change(tmp_path / "m.onnx", tmp_path, 19)

    assert {each.raw_data for each in tensors(onnx.load(path))} == before


def test_packed_weights_and_those_behind_a_link_stay_what_they_are(tmp_path: Path) -> None:
    packed = np.arange(512 * 512).reshape(512, 512) % 16
    text = '<ir_version: 10, opset_import: ["" : 21]> m (float[n, 512] x) => (float[n, 512] y) {\n'
    text += "d = DequantizeLinear(w, s) y = MatMul(x, d) }"
    model = onnx.parser.parse_model(text)
    pairs = (packed.reshape(-1, 2) @ [1, 16]).astype(np.uint8).tobytes()
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.UINT4, packed.shape, pairs, raw=True)
    model.graph.initializer.append(weights)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), "s"))
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "m.onnx").symlink_to(tmp_path / "m.onnx")

    path, _ = change(tmp_path / "link" / "m.onnx", tmp_path, 22)

    found = next(each for each in onnx.load(path).graph.initializer if each.name == "w")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found).astype(int), packed)


def test_no_weights_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '<ir_version: 8, opset_import: ["" : 13]> m (float[n, 300] x) => (float[n, 300] y) { y = MatMul(x, w) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((300, 300), np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.delattr(onnx, "load")

    path, _ = change(tmp_path / "m.onnx", tmp_path, 19)

    assert abs(path.stat().st_size - (tmp_path / "m.onnx").stat().st_size) < 100


def test_names_that_the_version_converter_gives_twice_are_told_apart(tmp_path: Path) -> None:
    source = written(tmp_path / "gate.onnx", BRANCHES)

    raised, how = change(source, tmp_path, 18)

    assert how == "raised from opset 17 by onnx.version_converter"
    onnx.checker.check_model(onnx.load(raised), full_check=True)
    for x in (floats((3, 8)), floats((3, 8)) + 2):
        np.testing.assert_array_equal(run(raised, x=x), run(source, x=x))


def test_what_was_wrong_with_the_source_does_not_count(tmp_path: Path) -> None:
    source = written(tmp_path / "m.onnx", '"" : 17\nm (float[n] x) => (float[n] y) { y = Relu(x) }')
    model = onnx.load(source)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, source)
    with pytest.raises(onnx.checker.ValidationError, match="'shape' of 'type' is required"):
        onnx.checker.check_model(onnx.load(source))

    for opset in (18, 16):
        changed, _ = change(source, tmp_path, opset)
        np.testing.assert_array_equal(run(changed, x=np.array([-1, 2], np.float32)), [0, 2])


# As TensorFlow's images are, [batch, height, width, channels].
CUBIC = """
"" : 17
m (float[1, 4, 4, 2] x) => (float[1, 2, 2, 2] y) {
    t = Transpose<perm = [0, 3, 1, 2]>(x)
    r = Resize<mode = "cubic", coordinate_transformation_mode = "half_pixel">(t, , scales)
    y = Transpose<perm = [0, 2, 3, 1]>(r)
}
"""


def test_a_file_that_only_the_optimizer_breaks_is_run_without_it(tmp_path: Path) -> None:
    source = written(tmp_path / "cubic.onnx", CUBIC, {"scales": np.array([1, 1, 0.5, 0.5], np.float32)})

    model = onnx_runner.load(source, declared=NOTHING)

    (warning,) = model.properties.warnings
    assert warning.startswith("ONNX Runtime loads the file only with basic optimizations (ORT_ENABLE_BASIC): ")
    # The reason is whole: all of its lines, without where in ONNX Runtime's code it happened.
    assert warning.endswith("without antialias attribute in the Resize operator")
    assert ".h:" not in warning
    flat = np.full((1, 4, 4, 2), 3, np.float32)
    np.testing.assert_allclose(model.infer({"x": flat})["y"], np.full((1, 2, 2, 2), 3), rtol=1e-6)


def test_a_file_that_only_the_optimizer_breaks_when_it_is_run_is_run_without_it(tmp_path: Path) -> None:
    """Nothing but the inputs says that the image gets smaller."""
    text = CUBIC.replace("x) =>", "x, float[4] scales) =>").replace("[1, 4, 4, 2]", "[1, h, w, 2]")
    source = written(tmp_path / "cubic.onnx", text.replace("[1, 2, 2, 2]", "[1, a, b, 2]"))

    model = onnx_runner.load(source, declared=NOTHING)

    (warning,) = model.properties.warnings
    assert warning.startswith("run with basic optimizations (ORT_ENABLE_BASIC): ")
    for side, scale in ((4, 0.5), (2, 1), (1, 2)):
        image = np.full((1, side, side, 2), 3, np.float32)
        small = model.infer({"x": image, "scales": np.array([1, 1, scale, scale], np.float32)})["y"]
        np.testing.assert_allclose(small, np.full((1, 2, 2, 2), 3), rtol=1e-6)


def test_a_resize_that_the_optimizer_leaves_alone_is_optimized(tmp_path: Path) -> None:
    resize = 'y = Resize<mode = "cubic">(x, , scales)'
    source = written(
        tmp_path / "m.onnx", f'"" : 17\nm (float[1, 2, 4, 4] x, float[4] scales) => (float y) {{ {resize} }}'
    )
    model = onnx_runner.load(source, declared=NOTHING)
    assert not model.properties.warnings
    scales = np.array([1, 1, 0.5, 0.5], np.float32)
    assert model.infer({"x": np.ones((1, 2, 4, 4), np.float32), "scales": scales})["y"].shape == (1, 2, 2, 2)
