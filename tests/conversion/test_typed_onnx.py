"""ONNX to fp16 and int8: what the files are, and that they compute the same."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from navigator.converters import onnx_to_typed_onnx
from navigator.converters.onnx_to_typed_onnx import Options
from navigator.records import Precision, Properties
from tests.conversion.typed_onnx import (
    FP16,
    IMAGES,
    NETWORK,
    NETWORK_WEIGHTS,
    PRECISIONS,
    SINGLE,
    Typed,
    floats,
    written,
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


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
    assert {name for name, kind in kinds.items() if kind == "FLOAT"} == {"image", "features", "scores"}
    assert typed.properties == Properties(
        onnx_opset=17,
        exporter="cast to fp16 by navigator",
        precision=Precision.FP16,
        fp16_nodes=7,
        fp32_nodes=0,
        quantize_nodes=0,
        dequantize_nodes=0,
    )


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
    inside = "nodes that stay in fp32 because they are inside If, Loop or Scan: 5"
    assert typed.properties.warnings == (() if options is SINGLE else (inside,))
    assert (typed.is_half("MatMul"), typed.properties.fp32_nodes) == ((False, 3) if options is SINGLE else (True, 2))
    assert typed.properties.kept_in_fp32 == ({} if options is SINGLE else {"contains a subgraph": 2})
    assert typed.initializers()["b"].dtype == np.float32
    assert typed.matches()
    assert typed.matches(rounding=False)


def test_the_converter_says_what_it_needs() -> None:
    assert onnx_to_typed_onnx.NEEDS_SAMPLES
    assert not onnx_to_typed_onnx.NEEDS_GPU
