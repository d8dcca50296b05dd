"""Writes the SavedModels of test_planted_sources.py, some of them with an error planted.

`python -m tests.run.planted.tensorflow_models < ORDERS`, see `variants`. A call starts with `h = x` and ends with
`return {"y": y, ...}`, so that errors may be planted in every model's first input and first output.
"""
# ruff: noqa: TID253 - makes the models
# mypy: allow-subclassing-any, allow-untyped-calls

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tests.run.planted.variants import make

Tensors = dict[str, Any]


def normal(*shape: int, scale: float = 0.3) -> Any:
    """Return the same weights for the same shape, in every variant."""
    return (np.random.default_rng(sum(shape)).standard_normal(shape) * scale).astype(np.float32)


def off(array: Any, where: Any, by: float) -> Any:
    array = array.copy()
    array[where] += by
    return array


# What is planted in the first output, [batch, ...].


def size(y: Any, axis: int = 0) -> Any:
    return tf.shape(y)[axis]


def ranks(y: Any) -> Any:
    """Return the numbers of the rows, from 1."""
    return tf.range(tf.shape(y)[0]) + 1


def added(y: Any, where: Any) -> Any:
    """Add what shows to some rows, or to all."""
    rows = tf.cast(where & (ranks(y) > 0), y.dtype)
    rows = tf.reshape(rows, tf.concat([[-1], tf.ones([len(y.shape) - 1], tf.int32)], 0))
    return y + rows * tf.cast(0.02 if y.dtype.is_floating else 1, y.dtype)


def spoiled(y: Any) -> Any:
    """Put NaN where the first element is."""
    first = tf.reshape(tf.range(tf.size(y)) < 1, tf.shape(y))
    return tf.where(first, np.float32("nan"), y)


def channel(y: Any) -> Any:
    """Change one channel by a hundredth."""
    return y * tf.constant(1 + 0.01 * np.eye(1, y.shape[-1], 1)[0], tf.float32)


class Tabular(tf.Module):
    """Standardized columns, batch norm, a residual layer; probabilities and the label."""

    INPUTS: ClassVar = {"x": ([None, 12], "float32")}

    def __init__(self) -> None:
        super().__init__()
        self.first = tf.Variable(normal(12, 24))
        self.mean, self.var = tf.constant(normal(24)), tf.constant(np.linspace(0.01, 1.5, 24, dtype=np.float32))
        self.hidden = tf.Variable(normal(24, 24))
        self.last, self.bias = tf.Variable(normal(24, 5)), tf.Variable(normal(5))

    def __call__(self, x: Any) -> Tensors:
        h = x
        h = tf.matmul(h, self.first)
        h = tf.nn.relu(tf.nn.batch_normalization(h, self.mean, self.var, None, None, 1e-3))
        h = h + tf.nn.relu(tf.matmul(h, self.hidden))
        logits = tf.matmul(h, self.last) + self.bias
        label = tf.argmax(logits, 1)
        y = tf.nn.softmax(logits, 1)
        return {"y": y, "label": label}


class Segmenter(tf.Module):
    """A convolution, pooled and resized back to the image, channels last; a map and its mean."""

    INPUTS: ClassVar = {"x": ([None, None, None, 3], "float32")}

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = tf.Variable(normal(3, 3, 3, 6)), tf.Variable(normal(6))
        self.depth = tf.Variable(normal(3, 3, 6, 1))
        self.head = tf.Variable(normal(1, 1, 6, 4))

    def __call__(self, x: Any) -> Tensors:
        h = x
        h = tf.nn.gelu(tf.nn.conv2d(h, self.kernel, 1, "SAME") + self.bias, approximate=False)
        h = tf.nn.depthwise_conv2d(h, self.depth, [1, 1, 1, 1], "SAME")
        p = tf.nn.avg_pool2d(h, 2, 2, "VALID")
        p = tf.clip_by_value(p, -0.5, 6.0)
        u = tf.image.resize(p, tf.shape(h)[1:3], method="bilinear")
        y = tf.nn.conv2d(u + h, self.head, 1, "SAME")
        return {"y": y, "mean": tf.reduce_mean(y, [1, 2])}


class Encoder(tf.Module):
    """Words and positions, attention over what a mask lets through, and the mean of it."""

    INPUTS: ClassVar = {"ids": ([None, None], "int32"), "attention_mask": ([None, None], "int32")}

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = tf.Variable(normal(500, 16, scale=1)), tf.Variable(normal(32, 16, scale=1))
        self.q, self.k, self.v = (tf.Variable(each) for each in normal(3, 16, 16))
        self.up, self.down = tf.Variable(normal(16, 32)), tf.Variable(normal(32, 16))

    def normed(self, h: Any) -> Any:
        mean, variance = tf.nn.moments(h, [-1], keepdims=True)
        return (h - mean) * tf.math.rsqrt(variance + 1e-5)

    def __call__(self, ids: Any, attention_mask: Any) -> Tensors:
        h = tf.gather(self.words, ids) + self.places[: tf.shape(ids)[1]]
        n = self.normed(h)
        q, k, v = n @ self.q, n @ self.k, n @ self.v
        scores = tf.matmul(q, k, transpose_b=True) / 4.0
        scores += tf.where(attention_mask > 0, 0.0, -1e9)[:, None, :]
        h += tf.nn.softmax(scores, -1) @ v
        y = h + tf.nn.gelu(self.normed(h) @ self.up, approximate=False) @ self.down
        weights = tf.cast(attention_mask, tf.float32)[..., None]
        mean = tf.reduce_sum(y * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1.0)
        return {"y": y, "mean": mean}


class Recurrent(tf.Module):
    """One step of a GRU."""

    INPUTS: ClassVar = {"x": ([None, 6], "float32"), "state": ([None, 8], "float32")}

    def __init__(self) -> None:
        super().__init__()
        self.i, self.s = tf.Variable(normal(6, 24)), tf.Variable(normal(8, 24))
        self.out = tf.Variable(normal(8, 8))

    def __call__(self, x: Any, state: Any) -> Tensors:
        h = x
        ir, iz, ic = tf.split(h @ self.i, 3, 1)
        sr, sz, sc = tf.split(state @ self.s, 3, 1)
        r, z = tf.sigmoid(ir + sr), tf.sigmoid(iz + sz)
        c = tf.tanh(ic + r * sc)
        new = (1 - z) * c + z * state
        y = new @ self.out
        return {"y": y, "new_state": new}


class Detector(tf.Module):
    """Boxes, [x0, y0, x1, y1] within the image, and scores, from a grid of cells."""

    INPUTS: ClassVar = {"x": ([None, None, None, 3], "float32")}

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = tf.Variable(normal(8, 8, 3, 7, scale=0.1)), tf.Variable(normal(7))

    def __call__(self, x: Any) -> Tensors:
        h = x
        f = tf.nn.conv2d(h, self.kernel, 8, "VALID") + self.bias
        sizes = tf.shape(f)
        rows, columns = sizes[1], sizes[2]
        f = tf.reshape(f, [sizes[0], rows * columns, 7])
        cell = tf.range(rows * columns)
        ys, xs = cell // columns, cell % columns
        grid = tf.cast(tf.stack([xs, ys], 1), tf.float32)
        centre = (tf.sigmoid(f[..., :2]) + grid) * 8.0
        half = tf.exp(f[..., 2:4]) * 6.0
        low = tf.maximum(centre - half, 0.0)
        limit = tf.cast(tf.stack([columns, rows]), tf.float32) * 8.0
        high = tf.minimum(centre + half, limit)
        scores = tf.sigmoid(f[..., 4:])
        y = tf.concat([low, high], 2)
        return {"y": y, "scores": scores}


class Counts(tf.Module):
    """Arithmetic of whole numbers, as of tokenizers and hashes: signed quotients, products beyond 32 bits."""

    INPUTS: ClassVar = {"x": ([None, 6], "int64")}

    def __call__(self, x: Any) -> Tensors:
        h = x
        q = h // 3
        m = tf.math.floormod(h, 3)
        y = q * 7 + m
        hashed = tf.math.floormod(h * 2654435761 + 17, 1009)
        return {"y": y, "hashed": hashed}


class Branches(tf.Module):
    """A branch for loud inputs, and a loop."""

    INPUTS: ClassVar = {"x": ([None, 6], "float32"), "steps": ([], "int32")}

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(normal(6, 6))

    def __call__(self, x: Any, steps: Any) -> Tensors:
        h = x
        loud = tf.reduce_mean(h) > 0.25
        h = tf.cond(loud, lambda: h - tf.reduce_mean(h, 1, keepdims=True), lambda: h * 2.0)
        _, y = tf.while_loop(lambda i, _: i < steps, lambda i, v: (i + 1, tf.tanh(v @ self.w)), [0, h])
        return {"y": y}


def save(path: Path, owner: Any) -> None:
    """Save a module's call as the only signature."""
    model = owner()
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in owner.INPUTS.items()]
    model.run = tf.function(model.__call__, input_signature=specs)
    tf.saved_model.save(model, str(path), signatures=model.run)


if __name__ == "__main__":
    make(__file__, save)
