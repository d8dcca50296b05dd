"""The weights that ONNX files store, inside and beside, and those that a graph computes with."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path

import numpy as np
import onnx
import pytest

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import stored
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.records import Precision
from navigator.workers.weights import weights
from tests.conversion.typed_onnx import written
from tests.support.exports import floats

GRAPH = """
"" : 17
m (float[n, 4] x, bool c) => (float[n, 4] y, float[n, 4] z) {
    k = Constant<value = float[2] {0.5, 1.5}>()
    t = Transpose<perm = [1, 0]>(moved) a = MatMul(x, t)
    n = Clip(clipped, low, high) b = MatMul(a, n)
    i = If(c) <
        then_branch = one () => (float[4] p) { p = Neg(branch) },
        else_branch = two () => (float[4] q) { q = Identity(branch) }
    >
    y = Add(b, i) s = Shape(shaped) l = ReduceProd<keepdims = 0>(s) f = Cast<to = 1>(l) z = Mul(b, f)
}
"""
TENSORS = {
    **{name: floats((4, 4)) for name in ("moved", "clipped", "shaped")},
    "branch": floats((4,)),
    "low": np.float32(-1),
    "high": np.float32(1),
}


def test_a_files_weights_and_what_is_computed_with_them_are_known(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", GRAPH, {name: np.asarray(each) for name, each in TENSORS.items()})
    found = {each.name: each.read() for each in stored.weights(path)}

    assert found.keys() == {*TENSORS, "k"}
    for name, values in TENSORS.items():
        np.testing.assert_array_equal(found[name], values)
    # An operator in a branch counts, one that moves or measures doesn't.
    assert stored.computed(path).names == {"clipped", "low", "high", "branch"}


@pytest.mark.parametrize("external", [False, True])
def test_large_weights_are_read_where_they_lie(tmp_path: Path, external: bool) -> None:
    values = floats((300, 200))
    text = '"" : 17\nm (float[n, 300] x) => (float[n, 200] y) { y = MatMul(x, w) }'
    model = onnx.load(str(written(tmp_path / "m.onnx", text, {"w": values})))
    for name, changed in (("right", values), ("wrong", values + np.eye(300, 200, dtype=np.float32) * 1e-3)):
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(changed, "w"))
        (tmp_path / name).mkdir()
        onnx.save(model, str(tmp_path / name / "m.onnx"), save_as_external_data=external, location="m.data")

    def judge(name: str) -> int:
        paths = {"source": str(tmp_path / "m.onnx"), "path": str(tmp_path / name / "m.onnx")}
        found = weights({**paths, "source_format": "onnx", "format": "onnx", "precision": "fp32"})
        assert found is not None
        assert found.recognised_elements == found.elements == values.size
        return sum(each.differing for each in found.wrong)

    assert (judge("right"), judge("wrong")) == (0, 200)


def test_weights_in_a_copy_of_the_sources_file_are_not_read(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 300] x) => (float[n, 200] y) { y = MatMul(x, w) }'
    model = onnx.load(str(written(tmp_path / "m.onnx", text, {"w": floats((300, 200))})))
    paths = [tmp_path / name / "m.onnx" for name in ("source", "converted")]
    for path in paths:
        path.parent.mkdir()
        onnx.save(
            onnx.ModelProto.FromString(model.SerializeToString()),
            str(path),
            save_as_external_data=True,
            location="m.data",
        )
    data = [str(path.with_name("m.data")) for path in paths]
    arguments = {"source": str(paths[0]), "path": str(paths[1]), "source_format": "onnx", "format": "onnx"}
    Path(data[1]).write_bytes(b"")
    assert weights({**arguments, "precision": "fp32"}) is None
    found = weights({**arguments, "precision": "fp32", "originals": {data[1]: data[0]}})
    assert found is not None
    assert (found.recognised, found.tensors, found.wrong) == (1, 1, ())


def test_weights_of_a_model_behind_a_link_are_read(tmp_path: Path) -> None:
    """As in the cache of Hugging Face's hub; onnx reads no external data behind links."""
    tensors = {"w": floats((300, 200)), "k": np.arange(60_000).reshape(300, 200)}
    text = '"" : 17\nm (float[n, 300] x) => (float[n, 200] y) { c = Cast<to = 1>(k) s = Add(w, c) y = MatMul(x, s) }'
    written(tmp_path / "blobs" / "0", text, tensors)
    link = tmp_path / "m.onnx"
    link.symlink_to("blobs/0")
    model = onnx_file.structure(link)
    assert all(each.external_data for each in model.graph.initializer)
    for each in model.graph.initializer:
        np.testing.assert_array_equal(onnx_weights.values(each, link), tensors[each.name])
    (weight,) = stored.weights(link)
    np.testing.assert_array_equal(weight.read(), tensors["w"])


def test_a_file_that_is_no_model_costs_only_this_evidence(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("nothing")
    path = str(tmp_path / "m.onnx")
    for precision in Precision:
        arguments = {"source": path, "path": path, "source_format": "onnx", "format": "onnx", "precision": precision}
        assert weights(arguments) is None
