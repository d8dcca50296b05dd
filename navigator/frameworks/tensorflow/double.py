"""A SavedModel's signature in float64: what its float32 is off by, which changes of the last bits may not show."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.declaration import doubled
from navigator.frameworks.memory import gigabytes, require_memory
from navigator.frameworks.tensorflow.freeze import weight_bytes
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
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    weights = weight_bytes(opened)
    require_memory(weights * _MEMORY_FACTOR, f"computing in float64 ({gigabytes(weights)} of weights)")
    if any(each.dtype.is_floating and each.dtype != tf.float32 for each in opened.function.variables):
        raise StepError("its variables aren't all in float32")
    frozen = convert_variables_to_constants_v2(opened.function, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        _widen(tf, node)
        if node.op in _WITHOUT_DOUBLE:
            _replace(graph, node, _WITHOUT_DOUBLE[node.op](tf, node.attr))
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    given, returned = (
        [wrapped.graph.get_tensor_by_name(tensor.name) for tensor in tensors]
        for tensors in (frozen.inputs, frozen.outputs)
    )
    pruned = wrapped.prune(given, returned)
    signature = Signature(inputs=doubled(opened.signature.inputs), outputs=doubled(opened.signature.outputs))

    def call(**tensors: _Tf) -> dict[str, _Tf]:
        # Both are in alphabetical order.
        results = pruned(*(tensors[spec.name] for spec in signature.inputs))
        return {spec.name: result for spec, result in zip(signature.outputs, results, strict=True)}

    return replace(opened, function=call, signature=signature)


def _wide(tf: _Tf, dtype: int) -> int:
    return int(tf.float64.as_datatype_enum) if dtype == tf.float32.as_datatype_enum else dtype


def _widen(tf: _Tf, node: _Tf) -> None:
    """Turn float32 into float64 in the attributes of a node."""
    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "type":
            attribute.type = _wide(tf, attribute.type)
        elif kind == "list":
            attribute.list.type[:] = [_wide(tf, each) for each in attribute.list.type]
        elif kind == "tensor" and attribute.tensor.dtype == tf.float32.as_datatype_enum:
            values = tf.make_ndarray(attribute.tensor).astype("float64")
            attribute.tensor.CopyFrom(tf.make_tensor_proto(values))


def _replace(graph: _Tf, node: _Tf, function: _Tf) -> None:
    """Let a node call a function of tensors instead: the same inputs, and the first output."""
    concrete = function.get_concrete_function()
    graph.MergeFrom(type(graph)(library={"function": [concrete.function_def]}))
    given, returned = ([each.dtype.as_datatype_enum for each in sets] for sets in (concrete.inputs, concrete.outputs))
    node.op = "PartitionedCall"
    node.attr.clear()
    node.attr["Tin"].list.type.extend(given)
    node.attr["Tout"].list.type.extend(returned)
    node.attr["f"].func.name = concrete.function_def.signature.name


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
