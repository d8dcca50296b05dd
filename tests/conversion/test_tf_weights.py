"""The weights that SavedModels store, those that a graph computes with, and how their conversions are judged."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.frameworks.tensorflow import stored
from navigator.records import Weights
from navigator.workers.weights import weights

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> Any:
    return tf.Variable(RNG.normal(size=shape).astype(np.float32))


class Convolutional(tf.Module):
    """A convolution, a batch normalization as Keras writes it, a depthwise convolution and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.depthwise = drawn(3, 3, 4, 8), drawn(3, 3, 8, 2)
        self.dense, self.bias = drawn(16, 10), drawn(10)
        self.gamma, self.beta, self.moving_mean = drawn(8), drawn(8), drawn(8)
        self.moving_variance = tf.Variable(RNG.uniform(0.2, 2, 8).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 4], tf.float32, name="x")])
    def serve(self, x: Any) -> dict[str, Any]:
        h = tf.nn.conv2d(x, self.kernel, 1, "VALID")
        scale = tf.math.rsqrt(self.moving_variance + 1e-3) * self.gamma
        h = tf.nn.relu(h * scale + (self.beta - self.moving_mean * scale))
        h = tf.nn.depthwise_conv2d(h, self.depthwise, [1, 1, 1, 1], "VALID")
        return {"y": tf.nn.bias_add(tf.reduce_mean(h, [1, 2]) @ self.dense, self.bias)}


class Function(tf.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.w, self._function = drawn(16, 32), function

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def serve(self, x: Any) -> dict[str, Any]:
        return {"y": x @ self._function(tf.convert_to_tensor(self.w))}


COMPUTED: dict[str, Callable[[Any], Any]] = {
    "clipped": lambda w: tf.clip_by_value(w, -1.8, 1.8),
    "with a row of zeros": lambda w: tf.tensor_scatter_nd_update(w, [[3]], tf.zeros((1, 32))),
    "rounded": lambda w: tf.cast(tf.cast(w, tf.float16), tf.float32),
    "with two columns swapped": lambda w: tf.gather(w, [1, 0, *range(2, 32)], axis=1),
    "with a diagonal": lambda w: w + tf.eye(16, 32),
}


def converted(module: Any, directory: Path) -> tuple[Path, Path]:
    source, made = directory / "model.savedmodel", directory / "model.onnx"
    tf.saved_model.save(module, str(source), signatures={"serving_default": module.serve})
    options = tf_savedmodel_to_onnx.Options(opset=15)
    tf_savedmodel_to_onnx.convert(
        Conversion(source=source, destination=made, options=options, signature=None, samples=None)
    )
    return source, made


def judged(source: Path, made: Path) -> Weights:
    found = weights(
        {
            "source": str(source),
            "source_format": "tf-savedmodel",
            "path": str(made),
            "format": "onnx",
            "precision": "fp32",
        }
    )
    assert found is not None
    return found


def test_the_weights_of_a_conversion_are_recognised_and_a_wrong_one_is_found(tmp_path: Path) -> None:
    source, made = converted(Convolutional(), tmp_path)
    right = judged(source, made)
    assert right.recognised == right.tensors
    assert not right.wrong

    model = onnx.load(str(made))
    for tensor in [each for each in model.graph.initializer if each.data_type == 1 and np.prod(each.dims) > 1]:
        values = onnx.numpy_helper.to_array(tensor)
        changed = values.copy()
        changed.flat[int(RNG.integers(values.size))] += np.float32(1e-3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
        onnx.save(model, str(made))
        assert [each.converted for each in judged(source, made).wrong] == [tensor.name]
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize("name", COMPUTED)
def test_what_a_graph_computes_from_a_weight_is_no_wrong_weight(tmp_path: Path, name: str) -> None:
    source, made = converted(Function(COMPUTED[name]), tmp_path)
    sizes = stored.computed(source).sizes
    assert sizes is not None
    assert 16 * 32 in sizes
    assert not judged(source, made).wrong


def test_what_only_moves_a_weight_computes_nothing(tmp_path: Path) -> None:
    source, _ = converted(Function(lambda w: tf.transpose(tf.reshape(tf.transpose(w), [32, 16]))), tmp_path)
    assert stored.computed(source).sizes == frozenset()


def test_a_savedmodels_variables_are_read_by_their_paths(tmp_path: Path) -> None:
    module = Convolutional()
    source, _ = converted(module, tmp_path)
    found = {each.name: each.read() for each in stored.weights(source)}
    for name in ("kernel", "bias", "dense", "moving_variance"):
        np.testing.assert_array_equal(found[name], getattr(module, name).numpy())
