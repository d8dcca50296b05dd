"""The weights of fp16 and int8 files beside those that they're made from: right ones pass, planted errors don't.

Whatever the other tests of `onnx_to_typed_onnx` convert has right weights too, see `typed_onnx.Typed`.
"""
# ruff: noqa: TID253 - the frameworks are what is tested

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from navigator.converters.onnx_to_typed_onnx import Options
from navigator.records import Weights
from tests.conversion.typed_onnx import (
    FP16,
    HIERARCHY,
    IMAGES,
    NETWORK,
    NETWORK_WEIGHTS,
    SINGLE,
    Typed,
    floats,
    written,
)

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1 % too large": lambda a: a * 1.01,
    "one channel 5 % too large": lambda a: np.concatenate([a[:1] * 1.05, a[1:]]),
    "one channel lost": lambda a: np.concatenate([a[:1] * 0, a[1:]]),
    "the largest twice as large": lambda a: np.where(np.abs(a) == np.abs(a).max(), 2 * a, a),
    "the largest lost": lambda a: np.where(np.abs(a) == np.abs(a).max(), 0 * a, a),
    "3 bits": lambda a: np.rint(a / np.abs(a).max() * 3) / 3 * np.abs(a).max(),
}


def planted(typed: Typed, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Weights:
    """Change a tensor in the file, and return what is said of its weights."""
    right = typed.path.read_bytes()
    model = onnx.load_model_from_string(right)
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    values = numpy_helper.to_array(tensor)
    changed = change(values.astype(np.float64)).astype(values.dtype)
    tensor.CopyFrom(numpy_helper.from_array(changed, name))
    onnx.save(model, str(typed.path))
    found = typed.weights()
    typed.path.write_bytes(right)
    assert found is not None
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_errors_planted_in_weights_are_found(tmp_path: Path, change: str) -> None:
    network = written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)
    for options, suffix in ((FP16, "_fp16"), (SINGLE, "_0_quantized_int8"), (HIERARCHY, "_0_quantized_int8")):
        typed = Typed(network, options, *IMAGES, name=f"{options.precision}_{options.precision_mode}")
        if change == "1 % too large" and options is not FP16:
            continue  # less than a step of int8
        for name in ("w1", "w2"):
            (wrong,) = planted(typed, f"{name}{suffix}", CHANGES[change]).wrong
            assert (wrong.tensor, wrong.converted) == (name, f"{name}{suffix}")


@pytest.mark.parametrize("options", [SINGLE, HIERARCHY], ids=["single", "hierarchy"])
def test_a_wrong_scale_is_a_wrong_weight(tmp_path: Path, options: Options) -> None:
    typed = Typed(written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS), options, *IMAGES)
    names = [name for name in typed.initializers() if name.startswith("w1_0_scale_int8")]
    (wrong,) = planted(typed, names[-1], lambda a: np.concatenate([a[:1] * 1.5, a[1:]])).wrong
    assert (wrong.tensor, wrong.index[0]) == ("w1", 0)


def test_weights_that_are_constants_among_the_nodes_are_compared(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 2] x) => (float[n, 3] y) { w = Constant<value = float[2, 3] {1, 2, 3, 4, 5, 6.1}>() '
    typed = Typed(written(tmp_path / "m.onnx", text + "y = MatMul(x, w) }"), FP16, {"x": floats(4, 2)})
    (wrong,) = planted(typed, "w_fp16", lambda a: np.where(a == a.max(), a * 1.01, a)).wrong
    assert (wrong.tensor, wrong.index, wrong.differing) == ("w", (1, 2), 1)


def test_own_scales_of_blocks_keep_nothing_else_from_being_compared(tmp_path: Path) -> None:
    text = """"" : 21
        m (float[n, 4] x) => (float[n, 2] y)
        <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, int8[4, 2] q = {1, 2, 3, 4, 5, 6, 7, 8}> {
            s = Constant<value = float[2, 2] {0.5, 0.25, 0.125, 1}>()
            d = DequantizeLinear<axis = 0, block_size = 2>(q, s) a = MatMul(x, w) b = MatMul(x, d) y = Add(a, b)
        }"""
    typed = Typed(written(tmp_path / "m.onnx", text), FP16, {"x": floats(4, 4)})
    (wrong,) = planted(typed, "w_fp16", lambda a: np.where(a == 8, 8.1, a)).wrong
    assert (wrong.tensor, wrong.index) == ("w", (3, 1))
