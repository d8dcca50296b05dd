"""How large values become is measured, and an fp16 model is rounded as fp16 hardware does it."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from navigator.errors import StepError
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx import rounding as onnx_rounding
from navigator.records import Precision, Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners.onnx import OnnxModel
from navigator.samples import storage as arrays
from navigator.workers import noise
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


def half(path: Path, weights: str) -> OnnxModel:
    """Return a model in fp16 whose weights are in the graph or a constant node, of which some are constants alone."""
    text = """
    "" : 17
    m (float[n, 8] x) => (float[n, 64] y) { h = Cast<to = 10>(x) v = Identity(w) s = MatMul(h, v) y = Cast<to = 1>(s) }
    """
    values = floats(8, 64).astype("float16")
    values[0, :4] = [0, 65504, -65504, 6e-8]
    written(path, text, {"w": values})
    if weights == "a constant node":
        model = onnx.load(path)
        (tensor,) = model.graph.initializer
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=tensor))
        del model.graph.initializer[:]
        onnx.save(model, path)
    if weights == "another file":
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0)
    options = onnx_runner.Options(precision=Precision.FP16)
    return onnx_runner.load(path, declared=Signature(inputs=(), outputs=()), options=options)


@pytest.mark.parametrize("weights", ["the graph", "a constant node", "another file"])
def test_half_of_the_weights_of_a_shaken_model_are_a_step_away(tmp_path: Path, weights: str) -> None:
    model = half(tmp_path / "m.onnx", weights)
    each = {"x": np.eye(8, dtype="float32")}  # so that the outputs are the weights
    with model.shaken(0) as one, model.shaken(1) as other:
        (before,), (after,), (again,) = (list(run.infer(each).values()) for run in (model, one, other))
    whole = [values.astype("float16").view(np.int16).astype(int) for values in (before, after)]
    steps = whole[1] - whole[0]
    assert set(np.unique(steps)) == {-1, 0, 1}
    assert 0.35 < np.count_nonzero(steps) / steps.size < 0.65
    assert (after[0, :3] == before[0, :3]).all()
    assert not np.array_equal(after, again)


def test_a_model_that_computes_nothing_in_fp16_can_not_be_shaken(network: Path) -> None:
    options = onnx_runner.Options(precision=Precision.FP16)
    model = onnx_runner.load(network, declared=Signature(inputs=(), outputs=()), options=options)
    with pytest.raises(StepError, match=r"nothing in network\.onnx computes in fp16"), model.shaken(0):
        pass


def test_other_rounding_is_about_as_large_as_the_error_of_fp16(tmp_path: Path) -> None:
    model = half(tmp_path / "m.onnx", "the graph")
    x = np.random.default_rng(0).uniform(0.1, 1, (50, 8)).astype("float32")
    weights = model.infer({"x": np.eye(8, dtype="float32")})["y"].astype("float64")
    usual = np.abs(weights).max(axis=0) < 100
    rounded = model.infer({"x": x})["y"]
    changed = [after["y"] - rounded for _, after in noise.shaken(model, [("s", {"x": x})])]
    size, *sizes = (float(np.sqrt(np.square(each[:, usual]).mean())) for each in (rounded - x @ weights, *changed))
    assert len(sizes) == 2
    assert all(0.3 < size / each < 3 for each in sizes)
