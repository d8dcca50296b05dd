"""ONNX to fp16: values too large or too small for it stay in fp32, and the report says which."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from navigator.errors import NotApplicableError
from navigator.frameworks.onnx import fp16 as onnx_fp16
from tests.conversion.typed_onnx import (
    FP16,
    HIERARCHY,
    Typed,
    floats,
    written,
)

OVERFLOWING = """
"" : 17
overflowing (float[batch, 8] x) => (float[batch, 8] y) {
    h = MatMul(x, large)
    [square] squared = Mul(h, h)
    scaled = Mul(squared, small)
    y = Tanh(scaled)
}
"""
OVERFLOWING_WEIGHTS = {"large": 125 + floats(8, 8, scale=100), "small": np.array(1e-5, "float32")}
OVERFLOWING_SAMPLE = {"x": np.abs(floats(5, 8, scale=0.5))}


def test_an_overflow_is_named_and_kept_out_of_fp16(tmp_path: Path) -> None:
    source = written(tmp_path / "m.onnx", OVERFLOWING, OVERFLOWING_WEIGHTS)
    largest = np.square(OVERFLOWING_SAMPLE["x"] @ OVERFLOWING_WEIGHTS["large"]).max()
    assert largest > 65504
    typed = Typed(source, FP16, OVERFLOWING_SAMPLE)
    (warning,) = typed.properties.warnings
    assert warning == (
        f"Mul 'square' reaches {largest:.3g}: close to or above 65504, the largest fp16 number, "
        "so the nodes that handle such values stay in fp32"
    )
    assert typed.is_half("MatMul")
    assert typed.is_half("Tanh")
    assert (typed.properties.fp16_nodes, typed.properties.fp32_nodes) == (2, 2)
    assert typed.properties.kept_in_fp32 == {"values too large for fp16": 2}
    assert typed.matches()


def test_without_that_it_would_overflow_and_onnx_runtime_would_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "m.onnx", OVERFLOWING, OVERFLOWING_WEIGHTS)
    monkeypatch.setattr(onnx_fp16, "LARGEST", np.inf)
    typed = Typed(source, FP16, OVERFLOWING_SAMPLE)
    assert typed.properties.fp32_nodes == 0
    assert typed.matches(rounding=False)
    assert (typed.outputs()[0][1]["y"] == 1.0).any()
    assert not typed.matches()


def beside_another(path: Path) -> Path:
    """Put an operator that becomes fp16 beside a model's own: without any the conversion isn't applicable."""
    model = onnx.load(str(path))
    model.graph.node.append(helper.make_node("Neg", ["free"], ["freed"]))
    model.graph.input.append(helper.make_tensor_value_info("free", onnx.TensorProto.FLOAT, [2]))
    model.graph.output.append(helper.make_tensor_value_info("freed", onnx.TensorProto.FLOAT, [2]))
    onnx.save(model, str(path))
    return path


FREE = {"free": np.array([1, 2], "float32")}


def test_values_near_the_end_of_fp16_leave_no_room_for_other_inputs(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x) => (float[n] y) { a = Mul(x, k) y = Sqrt(a) }'
    source = written(tmp_path / "m.onnx", text, {"k": np.array(40_000, "float32")})
    assert Typed(source, FP16, {"x": np.array([0.5], "float32")}, name="half").is_half("Mul")
    typed = Typed(beside_another(source), FP16, {"x": np.array([1.0], "float32"), **FREE}, name="whole")
    assert not typed.is_half("Mul")
    assert typed.properties.warnings[0].startswith("Mul of 'a' reaches 4e+04: close to or above 65504")


def test_only_a_few_of_many_are_named(tmp_path: Path) -> None:
    lines = "\n".join(f"a{k + 1} = Add(a{k}, a{k})" for k in range(6))
    text = f'"" : 17\nm (float[n] x) => (float[n] y) {{ a0 = Relu(x)\n{lines}\ny = Neg(a6) }}'
    source = beside_another(written(tmp_path / "m.onnx", text))
    typed = Typed(source, FP16, {"x": np.array([1e5], "float32"), **FREE})
    (warning,) = typed.properties.warnings
    assert warning == (
        "input 'x' reaches 1e+05, Relu of 'a0' reaches 1e+05, Add of 'a1' reaches 2e+05, and 6 more: "
        "close to or above 65504, the largest fp16 number, so the nodes that handle such values stay in fp32"
    )


def test_constants_over_the_range_stay_in_fp32(tmp_path: Path) -> None:
    """A trained text detector has such a variance; clamped to 65504, its outputs are off by their whole range."""
    text = '"" : 15\nm (float[n, 2] x) => (float[n, 2] y) { a = BatchNormalization(x, s, b, mean, var) y = Relu(a) }'
    weights = {
        "s": np.array([3e3, 1], "float32"),
        "b": floats(2),
        "mean": floats(2, seed=1),
        "var": np.array([1e8, 2], "float32"),
    }
    typed = Typed(written(tmp_path / "m.onnx", text, weights), FP16, {"x": floats(50, 2, scale=3)})
    assert not typed.is_half("BatchNormalization")
    np.testing.assert_array_equal(typed.initializers()["var"], weights["var"])
    assert typed.properties.warnings[0].startswith("constant 'var' reaches 1e+08: ")
    assert typed.matches()


def test_a_mask_as_large_as_floats_go_is_no_overflow(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (float[n, 5] x, bool[n, 5] mask) => (float[n, 5] y) {
        a = Where(mask, x, lowest)
        b = Softmax(a)
        y = Relu(b)
    }
    """
    source = written(tmp_path / "m.onnx", text, {"lowest": np.array(np.finfo("float32").min)})
    mask = np.array([[1, 1, 0, 1, 0], [0] * 5], bool)
    typed = Typed(source, FP16, {"x": floats(2, 5), "mask": mask})
    assert not typed.properties.warnings
    assert [typed.is_half(each) for each in ("Where", "Softmax", "Relu")] == [False, False, True]
    # A row without any value is even, in fp16 it would be no number.
    np.testing.assert_allclose(typed.outputs()[0][1]["y"][1], 0.2, rtol=1e-3)
    assert typed.matches()


def test_infinity_itself_is_in_fp16(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 5] x, bool[n, 5] mask) => (float[n, 5] y) { a = Where(mask, x, low) y = Softmax(a) }'
    source = written(tmp_path / "m.onnx", text, {"low": np.array(-np.inf, "float32")})
    typed = Typed(source, FP16, {"x": floats(1, 5), "mask": np.array([[1, 1, 0, 1, 0]], bool)})
    assert typed.is_half("Softmax")
    assert typed.is_half("Where")
    assert typed.matches()


@pytest.mark.parametrize("expression", ["y = Log(b)", "y = Reciprocal(b)", "y = Div(one, b)"])
def test_what_would_be_rounded_to_zero_is_not_divided_by(tmp_path: Path, expression: str) -> None:
    text = f'"" : 17\nm (float[n] x) => (float[n] y) {{ b = Add(x, epsilon) {expression} }}'
    weights = {"epsilon": np.array(1e-9, "float32"), "one": np.array(1e-7, "float32")}
    source = beside_another(written(tmp_path / "m.onnx", text, weights))
    typed = Typed(source, FP16, {"x": np.array([0.0, 0.5], "float32"), **FREE})
    assert not typed.is_half("Add")
    assert np.isfinite(typed.outputs()[0][1]["y"]).all()
    assert typed.matches()


def test_the_smallest_divisor_counts_not_only_the_largest(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x, float[n] z) => (float[n] y) { a = Relu(x) y = Div(z, a) }'
    source = written(tmp_path / "m.onnx", text)
    z = np.array([1e-6, 1], "float32")
    assert Typed(source, FP16, {"x": np.array([1e-3, 1], "float32"), "z": z}, name="fine").is_half("Relu")
    typed = Typed(beside_another(source), FP16, {"x": np.array([1e-8, 1], "float32"), "z": z, **FREE}, name="tiny")
    assert not typed.is_half("Relu")
    assert typed.matches()


def test_a_constant_that_would_be_rounded_to_zero_stays_in_fp32(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x) => (float[n] y) { y = Mul(x, k) }'
    source = beside_another(written(tmp_path / "m.onnx", text, {"k": np.array(1e-9, "float32")}))
    typed = Typed(source, FP16, {"x": floats(3, scale=30_000), **FREE})
    assert typed.properties.kept_in_fp32 == {"values too small for fp16": 1}
    assert typed.matches()


def test_small_weights_among_larger_ones_are_no_reason(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 2] x) => (float[n, 2] y) { y = Add(x, b) }'
    source = written(tmp_path / "m.onnx", text, {"b": np.array([1e-12, 0.5], "float32")})
    assert Typed(source, FP16, {"x": floats(3, 2)}).is_half("Add")


def test_what_is_constant_zero_is_no_reason(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 4] x) => (float[n, 4] y) { a = Mul(x, z) b = MatMul(a, w) y = Add(b, z) }'
    weights = {"z": np.zeros(4, "float32"), "w": np.zeros((4, 4), "float32")}
    source = written(tmp_path / "m.onnx", text, weights)
    for options in (FP16, HIERARCHY):
        typed = Typed(source, options, {"x": floats(3, 4)}, name=str(options.precision))
        assert typed.properties.fp32_nodes == 0
        assert not typed.outputs()[0][1]["y"].any()


@pytest.mark.parametrize(
    ("graph", "sample", "why"),
    [
        pytest.param(
            "(int64[n] x) => (int64[n] y) { y = Add(x, x) }",
            np.array([3], "int64"),
            "the model has no float32 operators",
            id="integers",
        ),
        pytest.param(
            "(float16[n] x) => (float16[n] y) { y = Add(x, x) }",
            np.array([3], "float16"),
            "the model computes in fp16 already",
            id="fp16 already",
        ),
        pytest.param(
            "(double[n] x) => (double[n] y) { y = Add(x, x) }",
            np.array([3], "float64"),
            "the model has no float32 operators",
            id="float64",
        ),
        pytest.param(
            "(float[n] x) => (float[n] y) { a = Add(x, x) y = ReduceSum<keepdims = 1>(a) }",
            np.array([6e4], "float32"),
            "all float32 operators of the model stay in fp32 (values too large for fp16: 1, sums many values: 1)",
            id="too large, or excluded",
        ),
        pytest.param(
            "(int64[n] x) => (float[n] y) { a = Cast<to = 1>(x) y = Add(a, a) }",
            np.array([3], "int64"),
            "all float32 operators of the model stay in fp32 (computes with integers: 1)",
            id="whole numbers",
        ),
    ],
)
def test_where_nothing_became_fp16_it_is_not_applicable(
    tmp_path: Path, graph: str, sample: np.ndarray, why: str
) -> None:
    source = written(tmp_path / "m.onnx", f'"" : 17\nm {graph}')
    with pytest.raises(NotApplicableError) as found:
        Typed(source, FP16, {"x": sample})
    assert found.value.message == f"nothing became fp16: {why}"
    assert found.value.hint == "remove fp16 from this model's tensorrt_precisions"
    assert not any((tmp_path / "typed").iterdir())
