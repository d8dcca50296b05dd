"""TensorFlow's resizes with a kernel or by area, as products with a matrix of weights for each side.

tf2onnx lacks the first, as of `tf.image.resize` with antialias=True, and writes the second as a nearest neighbor.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_Tf = Any
_Tensor = Any


def scale_and_translate(
    tf: _Tf, attributes: Mapping[str, Any], images: _Tensor, size: _Tensor, scale: _Tensor, translation: _Tensor
) -> _Tensor:
    """Weigh pixels by their distance from the place of each new one, as `scale_and_translate_op.cc` does."""
    radius, kernel = _kernels(tf)[attributes.get("kernel_type", "lanczos3")]
    weights = []
    for axis in range(2):
        before, after = tf.cast(tf.shape(images)[1 + axis], tf.float32), size[axis]
        inverse = 1 / scale[axis]
        widened = tf.maximum(inverse, 1) if attributes.get("antialias", True) else tf.ones_like(inverse)
        place = (tf.range(tf.cast(after, tf.float32)) + 0.5) * inverse - translation[axis] * inverse
        place = place[:, None]
        pixels = tf.range(before)[None]
        first = tf.math.ceil(place - radius * widened - 0.5)
        last = tf.floor(place + radius * widened - 0.5)
        near = (pixels >= tf.maximum(first, 0)) & (pixels <= tf.minimum(last, before - 1))
        inside = (place >= 0) & (place <= before)
        shares = tf.where(near & inside, kernel((pixels + 0.5 - place) / widened), 0)
        total = tf.reduce_sum(shares, 1, keepdims=True)
        significant = tf.abs(total) >= 1000 * np.finfo(np.float32).tiny
        weights.append(tf.where(significant, shares / tf.where(significant, total, 1), 0))
    return _weighed(tf, images, weights)


def area(tf: _Tf, attributes: Mapping[str, Any], images: _Tensor, size: _Tensor) -> _Tensor:
    """Weigh pixels by how much of each new one they cover."""
    weights = []
    for axis in range(2):
        before, after = tf.cast(tf.shape(images)[1 + axis], tf.float32), tf.cast(size[axis], tf.float32)
        scale = before / after
        if attributes.get("align_corners", False):
            scale = tf.where(after > 1, (before - 1) / tf.maximum(after - 1, 1), scale)
        start, pixels = (tf.range(after) * scale)[:, None], tf.range(before)[None]
        covered = tf.minimum(pixels + 1, start + scale) - tf.maximum(pixels, start)
        shares = tf.maximum(covered, 0)
        # What's beyond the last pixel is that pixel.
        beyond = tf.maximum(start + scale - tf.maximum(start, before), 0)
        weights.append((shares + tf.where(pixels >= before - 1, beyond, 0)) / scale)
    return _weighed(tf, images, weights)


def _weighed(tf: _Tf, images: _Tensor, weights: list[_Tensor]) -> _Tensor:
    rows, columns = weights
    shape = tf.shape(images)
    flat = tf.reshape(tf.cast(images, tf.float32), [shape[0], shape[1], shape[2] * shape[3]])
    lower = tf.reshape(tf.matmul(rows, flat), [shape[0] * tf.shape(rows)[0], shape[2], shape[3]])
    done = tf.matmul(columns, lower)
    return tf.reshape(done, [shape[0], tf.shape(rows)[0], tf.shape(columns)[0], shape[3]])


def _kernels(tf: _Tf) -> Mapping[str, tuple[float, Callable[[_Tensor], _Tensor]]]:
    """Return the radius and the kernel by the name of each, as of `sampling_kernels.h`."""

    def lanczos(radius: float) -> Callable[[_Tensor], _Tensor]:
        def kernel(x: _Tensor) -> _Tensor:
            x = tf.abs(x)
            turned = np.float32(np.pi) * x
            wave = radius * tf.sin(turned) * tf.sin(turned / radius) / tf.where(x <= 1e-3, 1.0, turned * turned)
            return tf.where(x > radius, 0.0, tf.where(x <= 1e-3, 1.0, wave))

        return kernel

    def gaussian(x: _Tensor) -> _Tensor:
        x = tf.abs(x)
        return tf.where(x >= 1.5, 0.0, tf.exp(-x * x / (2 * 0.5 * 0.5)))

    def box(x: _Tensor) -> _Tensor:
        x = tf.abs(x)
        return tf.where(x < 0.5, 1.0, tf.where(x <= 0.5, 0.5, 0.0))

    def triangle(x: _Tensor) -> _Tensor:
        return tf.maximum(1 - tf.abs(x), 0)

    def cubic(x: _Tensor) -> _Tensor:
        x = tf.abs(x)
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        return tf.where(x >= 2, 0.0, tf.where(x >= 1, far, ((1.5 * x - 2.5) * x) * x + 1))

    def mitchell(x: _Tensor) -> _Tensor:
        x = tf.abs(x)
        far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
        return tf.where(x >= 2, 0.0, tf.where(x >= 1, far, ((7 / 6 * x - 2) * x) * x + 8 / 9))

    return {
        "lanczos1": (1, lanczos(1)),
        "lanczos3": (3, lanczos(3)),
        "lanczos5": (5, lanczos(5)),
        "gaussian": (1.5, gaussian),
        "box": (0.5, box),
        "triangle": (1, triangle),
        "keyscubic": (2, cubic),
        "mitchellcubic": (2, mitchell),
    }
