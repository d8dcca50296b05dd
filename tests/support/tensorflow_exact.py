"""Runs SavedModels in float32 and in float64: `python -m tests.support.tensorflow_exact DIRECTORY`.

A program of its own: TensorFlow and PyTorch can't share a process. Prints JSON: by model, how far each output is off,
or nothing where it isn't run in float64.
"""
# ruff: noqa: TID253 - makes the models
# mypy: allow-subclassing-any

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from navigator.records import Signature
from navigator.runners import tf_savedmodel
from navigator.workers.noise import exact

RNG = np.random.default_rng(0)
INPUTS = {"count": np.arange(3, dtype=np.int32), "x": RNG.random((2, 37, 23, 3)).astype(np.float32)}


class Resize(tf.Module):
    def __init__(self, width: int, *, half_pixels: bool = False, corners: bool = False) -> None:
        super().__init__()
        self.size = (9, width)
        self.options = {"half_pixel_centers": half_pixels, "align_corners": corners}

    def __call__(self, count: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.raw_ops.ResizeBilinear(images=x, size=self.size, **self.options), "count": count * 2}


class Layers(tf.Module):
    def __init__(self, dtype: str = "float32", *, training: bool = False) -> None:
        super().__init__()
        self.training = training
        self.kernel = tf.Variable(RNG.normal(size=(3, 3, 3, 5)).astype(dtype))
        self.statistics = [tf.Variable(RNG.random(5).astype(np.float32)) for _ in range(4)]

    def __call__(self, count: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        y = tf.nn.conv2d(x, tf.cast(self.kernel, tf.float32), 1, "SAME")
        scale, offset, mean, variance = self.statistics
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=y, scale=scale, offset=offset, mean=mean, variance=variance, is_training=self.training
        )
        return {"y": tf.nn.relu(y), "count": tf.size(y) + count}


class Loop(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(RNG.normal(size=(3, 3)).astype(np.float32))

    def __call__(self, count: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        def step(number: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return number + 1, tf.tanh(y @ self.weight)

        _, y = tf.while_loop(lambda number, _: number < count[2], step, (0, x))
        return {"y": tf.cond(count[0] > 0, lambda: y, lambda: tf.image.resize(y, [40, 30])), "count": count}


class Spectrum(tf.Module):
    def __call__(self, count: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.signal.rfft(tf.reduce_mean(x, [2, 3]), [32]) * tf.constant(1j, tf.complex64)
        return {"y": tf.abs(found) + tf.math.real(found), "count": count * 2}


MODELS = {
    **{
        f"{name}_{width}": Resize(width, **options)
        for name, options in (("plain", {}), ("half_pixels", {"half_pixels": True}), ("corners", {"corners": True}))
        for width in (1, 71)
    },
    "layers": Layers(),
    "loop": Loop(),
    "spectrum": Spectrum(),
    "float16": Layers("float16"),
    "training": Layers(training=True),
}


def errors(module: tf.Module, path: Path) -> dict[str, Any]:
    specs = [tf.TensorSpec([3], tf.int32, name="count"), tf.TensorSpec([None, None, None, 3], tf.float32, name="x")]
    tf.saved_model.save(module, path, signatures=tf.function(module, input_signature=specs).get_concrete_function())
    model = tf_savedmodel.load(path, declared=Signature(inputs=(), outputs=()))
    before = model.infer(INPUTS)
    found = dict(exact(model, [("opt", INPUTS)])).get("opt", {})
    assert all(np.array_equal(array, model.infer(INPUTS)[name]) for name, array in before.items())
    assert all(array.dtype == before[name].dtype for name, array in found.items())
    return {name: float(np.abs(array - before[name]).max()) for name, array in found.items()}


def main(directory: Path) -> None:
    report = {name: errors(module, directory / name) for name, module in MODELS.items()}
    sys.stdout.write(f"\n{json.dumps(report)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
