"""ONNX to fp16 and int8: what the files hold, what they compute, and what is said where a precision does not do.

What is compared with the source model is the file as fp16 hardware computes it (`onnx_rounding`): ONNX Runtime's CPU
provider itself shows neither roundings nor overflows.
"""
# ruff: noqa: TID253 - the frameworks are what is tested

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper, parser

from navigator.converters import onnx_to_typed_onnx
from navigator.converters.onnx_to_typed_onnx import Options, convert
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import fp16 as onnx_fp16
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx import rounding as onnx_rounding
from navigator.records import Precision, PrecisionMode, Signature
from navigator.runners import onnx as onnx_runner
from navigator.samples import storage as arrays
from navigator.verify.compare import verify

Arrays = Mapping[str, np.ndarray]

FP16 = Options(precision=Precision.FP16)
SINGLE = Options(precision=Precision.INT8, precision_mode=PrecisionMode.SINGLE)
HIERARCHY = Options(precision=Precision.INT8, precision_mode=PrecisionMode.HIERARCHY)
PRECISIONS = pytest.mark.parametrize("options", [FP16, SINGLE, HIERARCHY], ids=["fp16", "single", "hierarchy"])

# Parts of the range of an output that an error may be.
TOLERANCES = {"fp16": 0.003, "int8": 0.05}


def floats(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-scale, scale, shape).astype("float32")


def written(path: Path, text: str, weights: Arrays | None = None, ir_version: int = 8) -> Path:
    """Write a model given as `onnx.parser` reads it, without its head, and with the given initializers."""
    opset, graph = text.strip().split("\n", 1)
    model = parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opset}]>\n{graph}")
    for name, values in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


class Typed:
    """A source model and what was made of it."""

    def __init__(self, source: Path, options: Options, *samples: Arrays, name: str = "typed") -> None:
        self.source, self.samples = source, samples
        self.path = source.parent / name / "model.onnx"
        self.path.parent.mkdir()
        directory = source.parent / f"{name}_samples"
        arrays.save(directory, [(str(index), sample) for index, sample in enumerate(samples)])
        self.precision = str(options.precision)
        conversion = Conversion(source=source, destination=self.path, options=options, samples=directory)
        self.properties: Mapping[str, Any] = convert(conversion)
        self.model = onnx.load(str(self.path))
        self.graph = self.model.graph

    def operators(self) -> list[str]:
        return [node.op_type for node in self.graph.node]

    def types(self) -> dict[str, str]:
        return onnx_graph.types(self.model, self.path.parent)

    def node(self, operator: str) -> Any:
        (found,) = [node for node in self.graph.node if node.op_type == operator]
        return found

    def is_half(self, operator: str) -> bool:
        return self.types()[self.node(operator).output[0]] == "tensor(float16)"

    def initializers(self) -> dict[str, np.ndarray]:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}

    def outputs(self, *, rounding: bool = True) -> list[tuple[str, dict[str, np.ndarray]]]:
        """Run what was made, as the runner does or with every fp16 result rounded."""
        path = self.path
        if rounding:
            model = onnx.load(str(path))
            path = self.path.parent / "rounded.onnx"
            onnx_rounding.rounded(model, self.path.parent)
            onnx.save(model, str(path))
        return run(path, *self.samples)

    def matches(self, *, rounding: bool = True) -> bool:
        """Compare with the source model as a run does, with a part of each output's range as tolerance."""
        reference = run(self.source, *self.samples)
        atol = {}
        for name in reference[0][1]:
            values = np.concatenate([each[name].astype("float64").ravel() for _, each in reference])
            atol[name] = TOLERANCES[self.precision] * float(np.ptp(values))
        return verify(reference, self.outputs(rounding=rounding), atol=atol, rtol={"": 0.0}).passed

    def change_a_weight(self, name: str) -> None:
        (tensor,) = [each for each in self.graph.initializer if each.name.startswith(name)]
        values = numpy_helper.to_array(tensor).copy()
        values.flat[np.abs(values.astype("float32")).argmax()] *= -1
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(self.model, str(self.path))


def run(path: Path, *samples: Arrays) -> list[tuple[str, dict[str, np.ndarray]]]:
    model = onnx_runner.load(path, declared=Signature(inputs=(), outputs=()))
    return [(str(index), model.infer(sample)) for index, sample in enumerate(samples)]


NETWORK = """
"" : 17
network (float[batch, 3, height, width] image) => (float[batch, 5] scores, float[batch, 8, h, w] features) {
    a = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)
    c = Relu(a)
    d = Conv<pads = [1, 1, 1, 1]>(c, w2, b2)
    features = Add(c, d)
    pooled = GlobalAveragePool(features)
    flat = Flatten(pooled)
    scores = Gemm<beta = 0.5, transB = 1>(flat, w3, b3)
}
"""
NETWORK_WEIGHTS = {
    "w1": floats(8, 3, 3, 3),
    "b1": floats(8, seed=1),
    "w2": floats(8, 8, 3, 3, seed=2, scale=0.3),
    "b2": floats(8, seed=3),
    "w3": floats(5, 8, seed=4),
    "b3": floats(5, seed=5, scale=4.0),
}
IMAGES = ({"image": floats(1, 3, 8, 8)}, {"image": floats(2, 3, 12, 6, seed=1)})


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


# What the files are, and that they compute the same


@PRECISIONS
def test_the_interface_stays(network: Path, options: Options) -> None:
    typed = Typed(network, options, *IMAGES)
    before = onnx.load(str(network)).graph
    assert [each.SerializeToString() for each in typed.graph.input] == [
        each.SerializeToString() for each in before.input
    ]
    assert [each.SerializeToString() for each in typed.graph.output] == [
        each.SerializeToString() for each in before.output
    ]
    assert [each.name for each in typed.path.parent.iterdir()] == ["model.onnx"]
    assert typed.matches()
    assert typed.matches(rounding=False)


@PRECISIONS
def test_a_wrong_weight_is_a_mismatch(network: Path, options: Options) -> None:
    typed = Typed(network, options, *IMAGES)
    assert typed.matches()
    typed.change_a_weight("w3_0_quantized" if typed.precision == "int8" else "w3")
    assert not typed.matches()


@PRECISIONS
def test_the_same_model_gives_the_same_bytes(network: Path, options: Options) -> None:
    one, two = (Typed(network, options, *IMAGES, name=name) for name in ("one", "two"))
    assert one.path.read_bytes() == two.path.read_bytes()


def test_fp16_is_fp16_inside(network: Path) -> None:
    typed = Typed(network, FP16, *IMAGES)
    assert {tensor.data_type for tensor in typed.graph.initializer} == {TensorProto.FLOAT16}
    assert typed.operators() == [
        "Cast",
        "Conv",
        "Relu",
        "Conv",
        "Add",
        "Cast",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
        "Cast",
    ]
    kinds = typed.types()
    assert {name for name, kind in kinds.items() if kind == "tensor(float)"} == {"image", "features", "scores"}
    assert typed.properties == {
        "onnx_opset": 17,
        "exporter": "cast to fp16 by navigator",
        "precision": "fp16",
        "fp16_nodes": 7,
        "fp32_nodes": 0,
        "quantize_nodes": 0,
        "dequantize_nodes": 0,
    }


# fp16: what stays in fp32


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
    assert kinds[typed.node("ReduceMean").input[0]] == "tensor(float)"
    assert (typed.properties["fp16_nodes"], typed.properties["fp32_nodes"]) == (2, 2)
    assert typed.properties["kept_in_fp32"] == {"adds up many numbers": 2}
    assert typed.matches()


def test_scattering_adds_up_only_where_it_reduces(tmp_path: Path) -> None:
    text = '"" : 18\nm (float[4] x, int64[3] i, float[3] u) => (float[4] y) {{ y = ScatterElements{}(x, i, u) }}'
    sample = {"x": floats(4), "i": np.array([1, 1, 2]), "u": floats(3)}
    for name, attribute, half in (("none", "", True), ("add", '<reduction = "add">', False)):
        source = written(tmp_path / f"{name}.onnx", text.format(attribute))
        typed = Typed(source, FP16, {**sample, "i": np.array([0, 1, 2])} if half else sample, name=name)
        assert typed.is_half("ScatterElements") is half
        assert typed.matches(rounding=False)


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
    (warning,) = typed.properties["warnings"]
    assert warning == (
        f"Mul 'square' reaches {largest:.3g}: over or near 65504, where fp16 ends, "
        "so what handles such values stays in fp32"
    )
    assert typed.is_half("MatMul")
    assert typed.is_half("Tanh")
    assert (typed.properties["fp16_nodes"], typed.properties["fp32_nodes"]) == (2, 2)
    assert typed.properties["kept_in_fp32"] == {"values too large for fp16": 2}
    assert typed.matches()


def test_without_that_it_would_overflow_and_onnx_runtime_would_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "m.onnx", OVERFLOWING, OVERFLOWING_WEIGHTS)
    monkeypatch.setattr(onnx_fp16, "LARGEST", np.inf)
    typed = Typed(source, FP16, OVERFLOWING_SAMPLE)
    assert typed.properties["fp32_nodes"] == 0
    assert typed.matches(rounding=False)
    assert (typed.outputs()[0][1]["y"] == 1.0).any()
    assert not typed.matches()


def test_values_near_the_end_of_fp16_leave_no_room_for_other_inputs(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x) => (float[n] y) { a = Mul(x, k) y = Sqrt(a) }'
    source = written(tmp_path / "m.onnx", text, {"k": np.array(40_000, "float32")})
    assert Typed(source, FP16, {"x": np.array([0.5], "float32")}, name="half").is_half("Mul")
    typed = Typed(source, FP16, {"x": np.array([1.0], "float32")}, name="whole")
    assert not typed.is_half("Mul")
    assert typed.properties["warnings"][0].startswith("Mul of 'a' reaches 4e+04: over or near 65504")


def test_only_a_few_of_many_are_named(tmp_path: Path) -> None:
    lines = "\n".join(f"a{k + 1} = Add(a{k}, a{k})" for k in range(6))
    text = f'"" : 17\nm (float[n] x) => (float[n] y) {{ a0 = Relu(x)\n{lines}\ny = Neg(a6) }}'
    typed = Typed(written(tmp_path / "m.onnx", text), FP16, {"x": np.array([1e5], "float32")})
    named, nothing = typed.properties["warnings"]
    assert named == (
        "input 'x' reaches 1e+05, Relu of 'a0' reaches 1e+05, Add of 'a1' reaches 2e+05, and 6 more: "
        "over or near 65504, where fp16 ends, so what handles such values stays in fp32"
    )
    assert nothing.startswith("nothing became fp16: ")


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
    assert typed.properties["warnings"][0].startswith("constant 'var' reaches 1e+08: ")
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
    assert "warnings" not in typed.properties
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
    typed = Typed(written(tmp_path / "m.onnx", text, weights), FP16, {"x": np.array([0.0, 0.5], "float32")})
    assert not typed.is_half("Add")
    assert np.isfinite(typed.outputs()[0][1]["y"]).all()
    assert typed.matches()


def test_the_smallest_divisor_counts_not_only_the_largest(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x, float[n] z) => (float[n] y) { a = Relu(x) y = Div(z, a) }'
    source = written(tmp_path / "m.onnx", text)
    z = np.array([1e-6, 1], "float32")
    assert Typed(source, FP16, {"x": np.array([1e-3, 1], "float32"), "z": z}, name="fine").is_half("Relu")
    typed = Typed(source, FP16, {"x": np.array([1e-8, 1], "float32"), "z": z}, name="tiny")
    assert not typed.is_half("Relu")
    assert typed.matches()


def test_a_constant_that_would_be_rounded_to_zero_stays_in_fp32(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x) => (float[n] y) { y = Mul(x, k) }'
    source = written(tmp_path / "m.onnx", text, {"k": np.array(1e-9, "float32")})
    typed = Typed(source, FP16, {"x": floats(3, scale=30_000)})
    assert typed.properties["kept_in_fp32"] == {"values too small for fp16": 1}
    assert typed.matches()


def test_small_weights_among_larger_ones_are_no_reason(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 2] x) => (float[n, 2] y) { y = Add(x, b) }'
    source = written(tmp_path / "m.onnx", text, {"b": np.array([1e-12, 0.5], "float32")})
    assert Typed(source, FP16, {"x": floats(3, 2)}).is_half("Add")


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
    assert typed.properties["kept_in_fp32"] == {"computes with whole numbers": 1}
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
    assert typed.types()[typed.node("Shape").input[0]] == "tensor(float16)"
    assert typed.matches()


CONTROL = """
"" : 17
control (float[n, 4] x, bool up) => (float[n, 4] y, float[n, 4] z) {
    h = MatMul(x, w)
    y = If(up) <
        then_branch = one () => (float[n, 4] a) { a = Add(h, b) },
        else_branch = two () => (float[n, 4] c) { c = Neg(h) }
    >
    z = Loop(three, , y) <
        body = three (int64 i, bool go, float[n, 4] v) => (bool going, float[n, 4] u) {
            going = Identity(go)
            s = Add(v, h)
            u = Tanh(s)
        }
    >
}
"""


@PRECISIONS
def test_branches_and_loops_stay_in_fp32_and_read_what_is_around_them(tmp_path: Path, options: Options) -> None:
    weights = {"w": floats(4, 4), "b": floats(4, seed=1), "three": np.array(3)}
    source = written(tmp_path / "m.onnx", CONTROL, weights)
    samples = [{"x": floats(2, 4, seed=k), "up": np.array(k == 0)} for k in range(2)]
    typed = Typed(source, options, *samples)
    inside = "the nodes inside If, Loop and Scan stay in fp32: 5"
    assert typed.properties.get("warnings", []) == ([] if options is SINGLE else [inside])
    assert (typed.is_half("MatMul"), typed.properties["fp32_nodes"]) == ((False, 3) if options is SINGLE else (True, 2))
    assert typed.properties.get("kept_in_fp32") == (None if options is SINGLE else {"holds a subgraph": 2})
    assert typed.initializers()["b"].dtype == np.float32
    assert typed.matches()
    assert typed.matches(rounding=False)


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
    assert typed.properties["fp16_nodes"] == 4
    assert typed.matches()


def test_what_onnx_does_not_know_stays_in_fp32_and_may_share_weights(tmp_path: Path) -> None:
    text = """
    "" : 17, "com.microsoft" : 1
    m (float[n, 4] x) => (float[n, 4] y) { a = Add(x, b) y = com.microsoft.BiasGelu(a, b) }
    """
    typed = Typed(written(tmp_path / "m.onnx", text, {"b": floats(4)}), FP16, {"x": floats(3, 4)})
    assert [typed.is_half(each) for each in ("Add", "BiasGelu")] == [True, False]
    assert typed.properties["kept_in_fp32"] == {"no fp16 form": 1}
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
    assert typed.properties["fp16_nodes"] == 2
    assert typed.matches()


# int8


def test_int8_is_what_explicit_quantization_takes(network: Path) -> None:
    typed = Typed(network, SINGLE, *IMAGES)
    assert {key: typed.properties[key] for key in ("quantize_nodes", "dequantize_nodes", "fp16_nodes")} == {
        "quantize_nodes": 3,
        "dequantize_nodes": 6,
        "fp16_nodes": 0,
    }
    assert typed.properties["exporter"] == "quantized to int8 by navigator"
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
    assert typed.properties == {
        "onnx_opset": 19,
        "exporter": "raised from opset 17 by onnx.version_converter, quantized to int8 by navigator, "
        "cast to fp16 by navigator",
        "precision": "int8",
        "fp16_nodes": 7,
        "fp32_nodes": 0,
        "quantize_nodes": 3,
        "dequantize_nodes": 6,
    }
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
    # Channels of different sizes need a scale each: with one for all, the small ones would be lost.
    axis = {"ConvTranspose": 1, "MatMul": 2}.get(call.split("(")[0].split("<")[0], 0 if "transB" in call else 1)
    axis = 0 if call.startswith("Conv") and not call.startswith("ConvT") else axis
    sizes = np.geomspace(1e-3, 1, weights["w"].shape[axis]).astype("float32")
    spread = weights["w"] * np.expand_dims(sizes, [k for k in range(weights["w"].ndim) if k != axis])
    typed = Typed(written(tmp_path / "m.onnx", text, {**weights, "w": spread}), options, {"x": x})
    assert typed.properties["quantize_nodes"] == 1
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
    assert typed.properties["quantize_nodes"] == 1
    assert typed.matches()


def test_nothing_to_quantize_is_said(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, n] x) => (float[n, n] y) { a = MatMul(x, x) b = MatMul(w, w) y = Add(a, b) }'
    source = written(tmp_path / "m.onnx", text, {"w": floats(3, 3)})
    typed = Typed(source, SINGLE, {"x": floats(3, 3)})
    assert typed.properties["warnings"] == [
        "nothing became int8: outside subgraphs no Conv, ConvTranspose, Gemm or MatMul has constant float32 weights"
    ]
    assert typed.operators() == ["MatMul", "MatMul", "Add"]


def test_products_of_one_tensor_share_its_pair(tmp_path: Path) -> None:
    text = """
    "" : 17
    m (float[n, 4] x) => (float[n, 4] y) { q = MatMul(x, w) k = MatMul(x, w) v = MatMul(x, u) y = Sum(q, k, v) }
    """
    source = written(tmp_path / "m.onnx", text, {"w": floats(4, 4), "u": floats(4, 4, seed=1)})
    typed = Typed(source, SINGLE, {"x": floats(3, 4)})
    assert (typed.properties["quantize_nodes"], typed.properties["dequantize_nodes"]) == (1, 3)
    assert typed.matches()


def test_random_samples_are_a_warning_where_scales_come_from_them(network: Path) -> None:
    for options in (SINGLE, HIERARCHY):
        typed = Typed(network, replace(options, random_samples=True), *IMAGES, name=str(options.precision_mode))
        assert typed.properties["warnings"] == [
            "int8 scales were measured on random samples: give real ones, or real inputs will be cut off or coarse"
        ]
    assert "warnings" not in Typed(network, SINGLE, *IMAGES, name="real").properties


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
    assert typed.properties["exporter"] == "copied with its own Q/DQ nodes"
    assert typed.properties["quantize_nodes"] == 3
    assert "warnings" not in typed.properties


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
    assert typed.properties["quantize_nodes"] == 3
    assert typed.properties["dequantize_nodes"] == 6
    assert "warnings" not in typed.properties
    assert typed.matches()


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY])
def test_a_promise_of_explicit_precision_is_held_to(network: Path, options: Options) -> None:
    with pytest.raises(StepError) as refusal:
        Typed(network, replace(options, explicit_precision=True), *IMAGES)
    assert refusal.value.message == (
        "the model has no QuantizeLinear or DequantizeLinear nodes, which tensorrt_explicit_precision promises"
    )
    assert refusal.value.hint.startswith("give the quantized model, or leave the option out")


# Files, opsets and samples


@pytest.mark.parametrize(
    ("options", "opset"), [(FP16, 11), (SINGLE, 13), (HIERARCHY, 19)], ids=["fp16", "single", "hierarchy"]
)
def test_opsets_that_are_too_low_are_raised(tmp_path: Path, options: Options, opset: int) -> None:
    text = '"" : 9\nm (float[n, 8] x) => (float[n, 4] y) { a = MatMul(x, w) y = Softmax(a) }'
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(8, 4)}), options, {"x": floats(3, 8)})
    assert typed.properties["onnx_opset"] == onnx_file.opset(typed.path) == opset
    assert typed.properties["exporter"].startswith("raised from opset 9 by onnx.version_converter, ")
    assert typed.matches()


@pytest.mark.parametrize("opset", [11, 13, 17, 19, 21, 23, 24])
def test_every_opset_works(tmp_path: Path, opset: int) -> None:
    text = f"""
    "" : {opset}
    m (float[n, 8] x) => (float[n, 4] y) {{ a = MatMul(x, w) b = Relu(a) y = Div(b, k) }}
    """
    source = written(tmp_path / "m.onnx", text, {"w": floats(8, 4), "k": np.array(3, "float32")}, 10)
    for options, name in ((FP16, "a"), (SINGLE, "b"), (HIERARCHY, "c")):
        typed = Typed(source, options, {"x": floats(3, 8)}, name=name)
        assert typed.matches()
        assert typed.properties["fp16_nodes"] == (0 if options is SINGLE else 3)
        kinds = {each.dtype.name for each in typed.initializers().values()}
        assert kinds == {"a": {"float16"}, "b": {"int8", "float32"}, "c": {"int8", "float16"}}[name]


def test_an_opset_that_cannot_be_raised_is_refused(tmp_path: Path) -> None:
    text = """
    "" : 8
    m (float[1, 3, 2] x) => (float[1, 3, 2] y) {
        y = Scan<num_scan_inputs = 1, body = b (float[2] e) => (float[2] s) { s = Neg(e) }>(lengths, x)
    }
    """
    with pytest.raises(StepError) as refusal:
        Typed(written(tmp_path / "m.onnx", text, {"lengths": np.array([3])}), FP16, {"x": floats(1, 3, 2)})
    assert refusal.value.message.startswith("fp16 needs opset 11 or higher: onnx.version_converter cannot change")
    assert refusal.value.hint == "export the model at opset 11 or higher, or set onnx_opsets to it"


@PRECISIONS
def test_external_data_comes_along(network: Path, options: Options) -> None:
    source = network.parent / "external" / "model.onnx"
    source.parent.mkdir()
    model = onnx.load(str(network))
    onnx.save(model, str(source), save_as_external_data=True, location="weights", size_threshold=16)
    listing = {each.name: each.read_bytes() for each in source.parent.iterdir()}
    typed = Typed(source, options, *IMAGES)
    assert {each.name: each.read_bytes() for each in source.parent.iterdir() if each.is_file()} == listing
    assert [each.name for each in typed.path.parent.iterdir()] == ["model.onnx"]
    assert typed.matches()
    assert typed.initializers().keys() == Typed(network, options, *IMAGES, name="inline").initializers().keys()


@PRECISIONS
def test_weights_over_the_limit_are_saved_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setattr(onnx_file, "_INLINE_LIMIT_BYTES", 1000)
    text = '"" : 17\nm (float[n, 64] x) => (float[n, 64] y) { y = MatMul(x, w) }'
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(64, 64)}), options, {"x": floats(3, 64)})
    assert sorted(each.name for each in typed.path.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert typed.matches(rounding=False)


def test_external_data_that_is_missing_is_said(network: Path) -> None:
    source = network.parent / "external" / "model.onnx"
    source.parent.mkdir()
    onnx.save(onnx.load(str(network)), str(source), save_as_external_data=True, location="weights", size_threshold=0)
    (source.parent / "weights").unlink()
    for options in (FP16, SINGLE):
        with pytest.raises(StepError, match=r"ONNX Runtime cannot load the model: |the weights '.*' cannot be read: "):
            Typed(source, options, *IMAGES, name=str(options.precision))


def test_samples_that_do_not_fit_are_said(network: Path) -> None:
    with pytest.raises(StepError, match=r"^the model needs image, the samples have picture$"):
        Typed(network, FP16, {"picture": floats(1, 3, 8, 8)}, name="other")
    with pytest.raises(StepError, match=r"^the model fails on the sample '1': "):
        Typed(network, SINGLE, IMAGES[0], {"image": floats(1, 4, 8, 8)}, name="wrong")
    with pytest.raises(StepError, match="there are no samples to measure the model's values on"):
        convert(Conversion(source=network, destination=network.parent / "x.onnx", options=FP16))


def test_other_precisions_are_refused(network: Path) -> None:
    for options in (replace(FP16, precision=Precision.FP32), replace(SINGLE, precision_mode=PrecisionMode.MIXED)):
        with pytest.raises(StepError, match="an ONNX file can't be converted to"):
            convert(Conversion(source=network, destination=network.parent / "x.onnx", options=options))


def test_a_failure_leaves_nothing_behind(network: Path) -> None:
    with pytest.raises(StepError):
        Typed(network, HIERARCHY, {"image": floats(1, 4, 8, 8)})
    assert list((network.parent / "typed").iterdir()) == []


# Measuring and rounding


def test_magnitudes_leave_out_zeros_and_infinities(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, k] x) => (float[n, k] y) { y = Neg(x) }'
    model = onnx_graph.prepare(onnx.load(str(written(tmp_path / "m.onnx", text))))
    sets = [
        [[np.inf, -3.0, 0.5], [0.0, 1.0, -np.inf]],
        [[0.25, 0.0, 2.0]],
        np.zeros((0, 3)),
    ]
    arrays.save(tmp_path / "s", [(str(k), {"x": np.array(each, "float32")}) for k, each in enumerate(sets)])
    found = onnx_magnitudes.measure(model, tmp_path, tmp_path / "s", tensors=["x", "y"], smallest_of=["y"])
    assert found == {"x": onnx_magnitudes.Magnitude(3.0), "y": onnx_magnitudes.Magnitude(3.0, 0.25)}
    assert onnx_magnitudes.of_values(np.array(sets[0]), smallest=True) == onnx_magnitudes.Magnitude(3.0, 0.5)
    assert onnx_magnitudes.of_values(np.zeros((0, 3)), smallest=True) == onnx_magnitudes.Magnitude()


def test_what_is_constant_zero_is_no_reason(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 4] x) => (float[n, 4] y) { a = Mul(x, z) b = MatMul(a, w) y = Add(b, z) }'
    weights = {"z": np.zeros(4, "float32"), "w": np.zeros((4, 4), "float32")}
    source = written(tmp_path / "m.onnx", text, weights)
    for options in (FP16, HIERARCHY):
        typed = Typed(source, options, {"x": floats(3, 4)}, name=str(options.precision))
        assert typed.properties["fp32_nodes"] == 0
        assert not typed.outputs()[0][1]["y"].any()


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_rounding_is_what_fp16_does(tmp_path: Path, level: str) -> None:
    text = """
    "" : 17
    m (float[n] x) => (float[n] y) { h = Cast<to = 10>(x) a = Mul(h, h) b = Sub(a, h) y = Cast<to = 1>(b) }
    """
    x = floats(1000, scale=300)
    half = x.astype("float16")
    with np.errstate(over="ignore"):
        expected = half * half - half
    assert np.isinf(expected).any()
    model = onnx.load(str(written(tmp_path / "m.onnx", text)))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    assert np.isfinite(plain).all()
    assert onnx_rounding.rounded(model, tmp_path)
    rounded = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    np.testing.assert_array_equal(rounded, expected.astype("float32"))


def test_nothing_to_round_changes_nothing(network: Path) -> None:
    model = onnx.load(str(network))
    before = model.SerializeToString(deterministic=True)
    assert not onnx_rounding.rounded(model, network.parent)
    assert model.SerializeToString(deterministic=True) == before


def test_the_converter_says_what_it_needs() -> None:
    assert onnx_to_typed_onnx.NEEDS_SAMPLES
    assert not onnx_to_typed_onnx.NEEDS_GPU
