"""How large values become is measured, and an fp16 model is rounded as fp16 hardware does it."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx import rounding as onnx_rounding
from navigator.samples import storage as arrays
from tests.conversion.typed_onnx import (
    NETWORK,
    NETWORK_WEIGHTS,
    floats,
    written,
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


def test_magnitudes_leave_out_zeros_and_infinities(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, k] x) => (float[n, k] y) { y = Neg(x) }'
    model = onnx_graph.prepare(written(tmp_path / "m.onnx", text))
    sets = [
        [[np.inf, -3.0, 0.5], [0.0, 1.0, -np.inf]],
        [[0.25, 0.0, 2.0]],
        np.zeros((0, 3)),
    ]
    arrays.save(tmp_path / "s", [(str(k), {"x": np.array(each, "float32")}) for k, each in enumerate(sets)])
    x, y = model.graph.inputs[0], model.graph.outputs[0]
    found = onnx_magnitudes.measure(model, tmp_path / "s", values=[x, y], smallest_of=[y])
    assert found == {x: onnx_magnitudes.Magnitude(3.0), y: onnx_magnitudes.Magnitude(3.0, 0.25)}
    assert onnx_magnitudes.of_values(np.array(sets[0]), smallest=True) == onnx_magnitudes.Magnitude(3.0, 0.5)
    assert onnx_magnitudes.of_values(np.zeros((0, 3)), smallest=True) == onnx_magnitudes.Magnitude()


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
    path = written(tmp_path / "m.onnx", text)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    plain = onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]
    assert np.isfinite(plain).all()
    content = onnx_rounding.rounded(path)
    assert content is not None
    rounded = onnxruntime.InferenceSession(content, options).run(None, {"x": x})[0]
    np.testing.assert_array_equal(rounded, expected.astype("float32"))


def test_nothing_to_round_changes_nothing(network: Path) -> None:
    assert onnx_rounding.rounded(network) is None
