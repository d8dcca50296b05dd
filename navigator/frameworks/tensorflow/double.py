"""A SavedModel's signature in float64: what its float32 is off by, which changes of the last bits may not show."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.declaration import doubled
from navigator.frameworks.tensorflow.rewritten import let_call, rewritten
from navigator.frameworks.tensorflow.signatures import OpenedSignature
from navigator.records import Signature

# TensorFlow's objects and functions; the package ships no types that hold for every version.
_Tf = Any

# The graph of constants and its copy, both again in float64, and what runs.
_MEMORY_FACTOR = 8


def in_double(opened: OpenedSignature) -> OpenedSignature:
    """Return a signature in float64, which takes and returns floats of that type; it doesn't follow later changes.

    Raises:
        StepError: some of its variables aren't in float32, or there's no memory for it.
        Exception: of TensorFlow, such as for an operator that has no float64.
    """
    import tensorflow as tf

    if any(each.dtype.is_floating and each.dtype != tf.float32 for each in opened.function.variables):
        raise StepError("its variables aren't all in float32")

    def widen(graph: _Tf) -> None:
        for node in graph.node:
            _widen(tf, node)
            if node.op in _WITHOUT_DOUBLE:
                let_call(graph, node, _WITHOUT_DOUBLE[node.op](tf, node.attr).get_concrete_function())

    call = rewritten(opened, widen, memory_factor=_MEMORY_FACTOR)
    signature = Signature(inputs=doubled(opened.signature.inputs), outputs=doubled(opened.signature.outputs))
    return replace(opened, function=call, signature=signature)


def _widen(tf: _Tf, node: _Tf) -> None:
    """Turn float32, and complex numbers of it, into float64 in the attributes of a node."""
    wider = {
        each.as_datatype_enum: double.as_datatype_enum
        for each, double in ((tf.float32, tf.float64), (tf.complex64, tf.complex128))
    }
    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "type":
            attribute.type = wider.get(attribute.type, attribute.type)
        elif kind == "list":
            attribute.list.type[:] = [wider.get(each, each) for each in attribute.list.type]
        elif kind == "tensor" and attribute.tensor.dtype in wider:
            dtype = tf.as_dtype(wider[attribute.tensor.dtype]).as_numpy_dtype
            attribute.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(attribute.tensor).astype(dtype)))


def _batch_norm(tf: _Tf, attributes: _Tf) -> _Tf:
    if attributes["is_training"].b:
        raise StepError("a batch normalization in training mode has other outputs too")
    epsilon = attributes["epsilon"].f

    def normalized(x: _Tf, scale: _Tf, offset: _Tf, mean: _Tf, variance: _Tf) -> _Tf:
        return (x - mean) * tf.math.rsqrt(variance + epsilon) * scale + offset

    whole = tf.TensorSpec([None] * 4, tf.float64)
    return tf.function(normalized, input_signature=[whole, *[tf.TensorSpec([None], tf.float64)] * 4], autograph=False)


def _bilinear(tf: _Tf, attributes: _Tf) -> _Tf:
    corners, half_pixels = (attributes[each].b for each in ("align_corners", "half_pixel_centers"))

    def weights(before: _Tf, after: _Tf) -> _Tf:
        """Return what each pixel is made of: its neighbors, by how near they are."""
        number, last = tf.range(after, dtype=tf.float64), tf.cast(before - 1, tf.float64)
        parts = (last, tf.maximum(after - 1, 1)) if corners else (before, after)
        factor = tf.divide(*(tf.cast(each, tf.float64) for each in parts))
        place = (number + 0.5) * factor - 0.5 if half_pixels else number * factor
        place = tf.clip_by_value(place, 0, last)
        return tf.nn.relu(1 - tf.abs(place[:, None] - tf.range(before, dtype=tf.float64)))

    def resized(images: _Tf, size: _Tf) -> _Tf:
        images = tf.cast(images, tf.float64)
        rows, columns = (weights(tf.shape(images)[axis], size[axis - 1]) for axis in (1, 2))
        return tf.einsum("ih,bhwc,jw->bijc", rows, images, columns)

    whole = tf.TensorSpec([None] * 4, tf.dtypes.as_dtype(attributes["T"].type))
    return tf.function(resized, input_signature=[whole, tf.TensorSpec([2], tf.int32)], autograph=False)


# Their kernels have no float64, or return float32 from it.
_WITHOUT_DOUBLE: dict[str, Callable[[_Tf, _Tf], _Tf]] = {
    "FusedBatchNormV3": _batch_norm,
    "ResizeBilinear": _bilinear,
}
