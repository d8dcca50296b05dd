"""ONNX to fp16: which operators stay in fp32, and what the files may hold."""

from pathlib import Path

import numpy as np

from tests.conversion.typed_onnx import (
    FP16,
    Typed,
    floats,
    written,
)


def test_what_adds_up_many_numbers_stays_in_fp32(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (float[n, 6, 50] x) => (float[n, 6] y, float[n, 6] z) {
        a = Relu(x)
        b = ReduceMean<axes = [2], keepdims = 0>(a)
        y = LogSoftmax(b)
        z = Neg(b)
    }
    """
    typed = Typed(written(tmp_path / "m.onnx", text), FP16, {"x": floats(2, 6, 50, scale=30)})
    kinds = typed.types()
    assert [typed.is_half(each) for each in ("Relu", "ReduceMean", "LogSoftmax", "Neg")] == [True, False, False, True]
    assert kinds[typed.node("ReduceMean").input[0]] == "FLOAT"
    assert (typed.properties.fp16_nodes, typed.properties.fp32_nodes) == (2, 2)
    assert typed.properties.kept_in_fp32 == {"sums many values": 2}
    assert typed.matches()


def test_scattering_adds_up_only_where_it_reduces(tmp_path: Path) -> None:
    text = """
    "" : 18
    m (float[4] x, int64[3] i, float[3] u) => (float[4] y) {{ r = Relu(u) y = ScatterElements{}(x, i, r) }}
    """
    sample = {"x": floats(4), "i": np.array([1, 1, 2]), "u": floats(3)}
    for name, attribute, half in (("none", "", True), ("add", '<reduction = "add">', False)):
        source = written(tmp_path / f"{name}.onnx", text.format(attribute))
        typed = Typed(source, FP16, {**sample, "i": np.array([0, 1, 2])} if half else sample, name=name)
        assert typed.is_half("ScatterElements") is half
        assert typed.matches(rounding=False)


def test_arithmetic_on_whole_numbers_stays_exact(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (int64[n] x, float[4096] table) => (float[n] y) {
        a = Cast<to = 1>(x)
        b = Add(a, one)
        c = Cast<to = 7>(b)
        d = Gather(table, c)
        y = Neg(d)
    }
    """
    source = written(tmp_path / "m.onnx", text, {"one": np.array(1, "float32")})
    typed = Typed(source, FP16, {"x": np.array([2048, 2050, 3000]), "table": np.arange(4096, dtype="float32") % 64})
    assert not typed.is_half("Add")
    assert typed.is_half("Neg")
    assert typed.properties.kept_in_fp32 == {"computes with integers": 1}
    assert typed.matches()


def test_shapes_computed_in_floats_stay_exact(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (float[n, k] x) => (float[a, b] y) {
        z = Relu(x)
        s = Shape(z)
        f = Cast<to = 1>(s)
        g = Mul(f, third)
        h = Floor(g)
        i = Cast<to = 7>(h)
        r = Slice(z, zeros, i)
        y = Neg(r)
    }
    """
    weights = {"third": np.array(0.3333, "float32"), "zeros": np.array([0, 0])}
    typed = Typed(written(tmp_path / "m.onnx", text, weights), FP16, {"x": floats(2, 6002)[:, :6001].repeat(2, 0)})
    assert typed.is_half("Relu")
    assert not typed.is_half("Mul")
    assert typed.types()[typed.node("Shape").input[0]] == "FLOAT16"
    assert typed.matches()


def test_recurrent_networks_are_fp16(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[t, n, 4] x) => (float[t, d, n, 6] y) { y = LSTM<hidden_size = 6>(x, w, r) }'
    weights = {"w": floats(1, 24, 4), "r": floats(1, 24, 6, seed=1)}
    typed = Typed(written(tmp_path / "m.onnx", text, weights), FP16, {"x": floats(7, 2, 4)}, {"x": floats(3, 1, 4)})
    assert typed.is_half("LSTM")
    assert typed.matches()


def test_functions_constants_and_listed_initializers_are_no_obstacle(tmp_path: Path) -> None:
    text = """
    "" : 17, "mine" : 1
    m (float[n, 2] x, float[2, 2] w) => (float[n, 2] y) {
        k = Constant<value_floats = [0.25, 4.0]>()
        l = Constant<value = float[2] {1.0, 2.0}>()
        a = MatMul(x, w)
        b = Mul(a, k)
        c = Add(b, l)
        y = mine.Twice(c)
    }
    <domain: "mine", opset_import: ["" : 17]>
    Twice (a) => (b) { b = Add(a, a) }
    """
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(2, 2)}, 3), FP16, {"x": floats(3, 2)})
    assert {each.dtype for each in typed.initializers().values()} == {np.dtype("float16")}
    assert "Constant" not in typed.operators()
    assert [each.name for each in typed.graph.input] == ["x"]
    assert typed.properties.fp16_nodes == 4
    assert typed.matches()


def test_what_onnx_does_not_know_stays_in_fp32_and_may_share_weights(tmp_path: Path) -> None:
    text = """
    "" : 17, "com.microsoft" : 1
    m (float[n, 4] x) => (float[n, 4] y) { a = Add(x, b) y = com.microsoft.BiasGelu(a, b) }
    """
    typed = Typed(written(tmp_path / "m.onnx", text, {"b": floats(4)}), FP16, {"x": floats(3, 4)})
    assert [typed.is_half(each) for each in ("Add", "BiasGelu")] == [True, False]
    assert typed.properties.kept_in_fp32 == {"no fp16 form": 1}
    assert {name: values.dtype.name for name, values in typed.initializers().items()} == {
        "b": "float32",
        "b_fp16": "float16",
    }
    assert typed.matches()


def test_outputs_whose_type_is_the_inputs_by_default_stay_float32(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, n] x) => (float[n, n] y) { a = Relu(x) b = EyeLike(a) y = Add(a, b) }'
    typed = Typed(written(tmp_path / "m.onnx", text), FP16, {"x": floats(3, 3)})
    assert [typed.is_half(each) for each in ("Relu", "EyeLike", "Add")] == [True, False, True]
    assert typed.matches()


def test_names_that_are_taken_stay_whose_they_are(tmp_path: Path) -> None:
    text = (
        '"" : 17\nm (float[n] x, float[n] x_fp16) => (float[n] y, float[n] y_fp16) { y = Neg(x) y_fp16 = Abs(x_fp16) }'
    )
    typed = Typed(written(tmp_path / "m.onnx", text), FP16, {"x": floats(3), "x_fp16": floats(3, seed=1)})
    assert typed.properties.fp16_nodes == 2
    assert typed.matches()
