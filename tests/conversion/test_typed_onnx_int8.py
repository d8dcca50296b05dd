"""ONNX to int8: what is quantized, with what scales, and models that are quantized already."""
# ruff: noqa: TID253 - the frameworks are what is tested

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from navigator.converters.onnx_to_typed_onnx import Options
from navigator.errors import NotApplicableError, StepError
from navigator.records import Precision, Properties
from tests.conversion.typed_onnx import (
    FP16,
    HIERARCHY,
    IMAGES,
    NETWORK,
    NETWORK_WEIGHTS,
    SINGLE,
    Arrays,
    Typed,
    floats,
    run,
    written,
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


def test_int8_is_what_explicit_quantization_takes(network: Path) -> None:
    typed = Typed(network, SINGLE, *IMAGES)
    assert {key: getattr(typed.properties, key) for key in ("quantize_nodes", "dequantize_nodes", "fp16_nodes")} == {
        "quantize_nodes": 3,
        "dequantize_nodes": 6,
        "fp16_nodes": 0,
    }
    assert typed.properties.exporter == "quantized to int8 by navigator"
    stored = typed.initializers()
    for node in typed.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = stored[node.input[1]], stored[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
            assert (scale > 0).all()
            assert np.isfinite(scale).all()
            per_channel = node.input[0] in stored
            assert scale.shape == ((stored[node.input[0]].shape[node.attribute[0].i],) if per_channel else ())
    weights = {name: values for name, values in stored.items() if name.endswith("quantized_int8")}
    assert {(values.dtype, values.shape) for values in weights.values()} == {
        (np.dtype("int8"), NETWORK_WEIGHTS[name].shape) for name in ("w1", "w2", "w3")
    }
    assert {np.abs(values.astype(int)).max() for values in weights.values()} <= {126, 127}
    # The bias, and the other side of the residual connection, are what they were.
    np.testing.assert_array_equal(stored["b2"], NETWORK_WEIGHTS["b2"])
    assert typed.node("Add").input[0] == "c"
    assert not {"w1", "w2", "w3"} & stored.keys()


def test_a_hierarchy_is_fp16_around_int8(network: Path) -> None:
    typed = Typed(network, HIERARCHY, *IMAGES)
    assert {each.dtype.name for each in typed.initializers().values()} == {"int8", "float16"}
    assert typed.properties == Properties(
        onnx_opset=19,
        exporter="raised from opset 17 by onnx.version_converter, quantized to int8 by navigator, "
        "cast to fp16 by navigator",
        precision=Precision.INT8,
        calibrated=True,
        fp16_nodes=7,
        fp32_nodes=0,
        quantize_nodes=3,
        dequantize_nodes=6,
    )
    assert typed.operators().count("Cast") == 3


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY])
@pytest.mark.parametrize(
    ("call", "weights", "x"),
    [
        ("Conv(x, w, b)", {"w": floats(6, 8, 3), "b": floats(6)}, floats(2, 8, 9)),
        ("Conv<group = 4>(x, w, b)", {"w": floats(8, 2, 3, 3), "b": floats(8)}, floats(2, 8, 9, 9)),
        ("ConvTranspose<strides = [2, 2]>(x, w)", {"w": floats(8, 6, 2, 2)}, floats(2, 8, 5, 5)),
        ("Gemm<alpha = 2.0, beta = 0.5>(x, w, b)", {"w": floats(8, 6), "b": floats(6, scale=9)}, floats(3, 8)),
        ("Gemm<transA = 1, transB = 1>(x, w)", {"w": floats(6, 8)}, floats(8, 3)),
        ("MatMul(x, w)", {"w": floats(3, 8, 6)}, floats(3, 4, 8)),
    ],
)
def test_every_quantized_operator_computes_the_same(
    tmp_path: Path, call: str, weights: Arrays, x: np.ndarray, options: Options
) -> None:
    shape = ", ".join(f"d{k}" for k in range(x.ndim))
    text = f'"" : 17\nm (float[{shape}] x) => (float[{shape.replace("d", "e")}] y) {{ y = {call} }}'
    # Publisher of different sizes need a scale each: with one for all, the small ones would be lost.
    axis = {"ConvTranspose": 1, "MatMul": 2}.get(call.split("(")[0].split("<")[0], 0 if "transB" in call else 1)
    axis = 0 if call.startswith("Conv") and not call.startswith("ConvT") else axis
    sizes = np.geomspace(1e-3, 1, weights["w"].shape[axis]).astype("float32")
    spread = weights["w"] * np.expand_dims(sizes, [k for k in range(weights["w"].ndim) if k != axis])
    typed = Typed(written(tmp_path / "m.onnx", text, {**weights, "w": spread}), options, {"x": x})
    assert typed.properties.quantize_nodes == 1
    # One scale an output channel; the int8 kernel of ONNX Runtime takes but one for several matrices.
    scales = next(values for name, values in typed.initializers().items() if name.startswith("w_") and "scale" in name)
    assert scales.shape == (() if call.startswith("MatMul") else (spread.shape[axis],))
    assert typed.matches()
    if call.startswith("Gemm<transA"):
        expected, actual = (each[0][1]["y"][:, 0] for each in (run(typed.source, {"x": x}), typed.outputs()))
        assert np.abs(expected - actual).max() < 0.05 * np.abs(expected).max()


def test_scales_are_positive_in_fp16_too(tmp_path: Path) -> None:
    """Trained models have channels whose scales fp16 would round to zero, which TensorRT refuses."""
    text = '"" : 17\nm (float[n, 8] x) => (float[n, 3] y) { y = MatMul(x, w) }'
    weights = floats(8, 3) * np.array([1, 1e-7, 0], "float32")
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": weights}), HIERARCHY, {"x": floats(3, 8)})
    scales = typed.initializers()["w_1_scale_int8_fp16"]
    assert scales.dtype == np.float16
    assert scales[1] == 2.0**-24
    assert scales[2] == 1
    assert typed.matches()


def test_single_and_hierarchy_have_the_same_steps(network: Path) -> None:
    """Scales are numbers of fp16 from the start, so that making them fp16 moves no value to another step."""
    single, hierarchy = (Typed(network, each, *IMAGES, name=str(each.precision_mode)) for each in (SINGLE, HIERARCHY))
    whole = {name: values for name, values in single.initializers().items() if "scale" in name}
    half = hierarchy.initializers()
    assert len(whole) == 6
    for name, values in whole.items():
        np.testing.assert_array_equal(values, half[f"{name}_fp16"].astype("float32"))


def test_what_shares_weights_with_a_product_reads_them_unquantized(tmp_path: Path) -> None:
    text = '"" : 17\nm (int64[n] i) => (float[n, 8] e, float[n, 8] y) { e = Gather(w, i) y = MatMul(e, w) }'
    source = written(tmp_path / "m.onnx", text, {"w": floats(8, 8)})
    typed = Typed(source, SINGLE, {"i": np.array([1, 7, 3])})
    np.testing.assert_array_equal(typed.outputs()[0][1]["e"], run(source, *typed.samples)[0][1]["e"])
    assert typed.properties.quantize_nodes == 1
    assert typed.matches()


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY])
def test_without_anything_to_quantize_int8_is_not_applicable(tmp_path: Path, options: Options) -> None:
    text = '"" : 17\nm (float[n, n] x) => (float[n, n] y) { a = MatMul(x, x) b = MatMul(w, w) y = Add(a, b) }'
    source = written(tmp_path / "m.onnx", text, {"w": floats(3, 3)})
    with pytest.raises(NotApplicableError) as found:
        Typed(source, options, {"x": floats(3, 3)})
    assert found.value.message == (
        "nothing became int8: no Conv, ConvTranspose, Gemm or MatMul outside subgraphs has constant float32 weights"
    )
    assert found.value.hint == "remove int8 from this model's tensorrt_precisions"


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY])
def test_a_model_that_is_quantized_to_another_type_is_not_int8(tmp_path: Path, options: Options) -> None:
    text = """
    "" : 21
    m (float[n, 8] x) => (float[n, 8] y) {
        zero = Constant<value = uint16[1] {5}>()
        z = Squeeze(zero)
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
    }
    """
    source = written(tmp_path / "m.onnx", text, {"s": np.array(0.1, "float32")}, ir_version=10)
    with pytest.raises(NotApplicableError, match="the model is quantized already, to another type"):
        Typed(source, options, {"x": floats(3, 8)})


def test_products_of_one_tensor_share_its_pair(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (float[n, 4] x) => (float[n, 4] y) { q = MatMul(x, w) k = MatMul(x, w) v = MatMul(x, u) y = Sum(q, k, v) }
    """
    source = written(tmp_path / "m.onnx", text, {"w": floats(4, 4), "u": floats(4, 4, seed=1)})
    typed = Typed(source, SINGLE, {"x": floats(3, 4)})
    assert (typed.properties.quantize_nodes, typed.properties.dequantize_nodes) == (1, 3)
    assert typed.matches()


def test_random_samples_are_a_warning_where_scales_come_from_them(network: Path) -> None:
    for options in (SINGLE, HIERARCHY):
        typed = Typed(network, replace(options, random_samples=True), *IMAGES, name=str(options.precision_mode))
        assert typed.properties.warnings == (
            "int8 scales come from random samples: provide real ones, or real inputs may be clipped or lose precision",
        )
    assert not Typed(network, SINGLE, *IMAGES, name="real").properties.warnings


# Models that are quantized already


@pytest.fixture
def quantized(network: Path, tmp_path: Path) -> Path:
    path = tmp_path / "quantized" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(Typed(network, SINGLE, *IMAGES, name="maker").path.read_bytes())
    return path


@pytest.mark.parametrize("explicit", [True, False])
def test_a_quantized_model_stays_as_it_is(quantized: Path, explicit: bool) -> None:
    options = replace(SINGLE, explicit_precision=explicit, random_samples=True)
    typed = Typed(quantized, options, *IMAGES)
    assert typed.path.read_bytes() == quantized.read_bytes()
    assert typed.properties.exporter == "copied with its own Q/DQ nodes"
    assert typed.properties.quantize_nodes == 3
    assert not typed.properties.warnings


@pytest.mark.parametrize("options", [FP16, replace(HIERARCHY, explicit_precision=True, random_samples=True)])
def test_in_fp16_too_its_steps_stay_its_own(quantized: Path, options: Options) -> None:
    typed = Typed(quantized, options, *IMAGES)
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(quantized)).graph.initializer}
    after = typed.initializers()
    for name, values in before.items():
        if values.dtype == np.int8:
            np.testing.assert_array_equal(after[name], values)
        elif "scale" in name:
            kept = after[name] if options is FP16 else after[f"{name}_fp16"]
            np.testing.assert_array_equal(kept.astype("float32"), values)
    assert typed.properties.quantize_nodes == 3
    assert typed.properties.dequantize_nodes == 6
    assert not typed.properties.warnings
    assert typed.matches()


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY])
def test_a_promise_of_explicit_precision_is_held_to(network: Path, options: Options) -> None:
    with pytest.raises(StepError) as refusal:
        Typed(network, replace(options, explicit_precision=True), *IMAGES)
    assert refusal.value.message == (
        "tensorrt_explicit_precision is set, but the model has no QuantizeLinear or DequantizeLinear nodes"
    )
    assert refusal.value.hint.startswith("use the quantized model, or remove the option")
