"""Operations that tf2onnx lacks or gets wrong, made of others that it converts. For tf2onnx 1.16 and 1.17.

They're replaced in TensorFlow's graph, where a call of a function is inlined like all others. Each function takes
TensorFlow, the node's attributes and its inputs, and computes what the operation does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from navigator.frameworks.opsets import ADDS
from navigator.frameworks.tensorflow import resampled
from navigator.frameworks.tensorflow.fake_quantization import QUANTIZED
from navigator.frameworks.tensorflow.rewritten import let_call

_Tf = Any
_Tensor = Any
_Computed = Callable[..., Any]
_Table = Mapping[str, _Computed]

# DT_FLOAT.
_FLOAT = 1

# What keeps a function from being inlined: Keras compiles grouped convolutions by themselves.
_APART = ("_XlaMustCompile", "_noinline")


def decompose(tf: _Tf, graph_def: _Tf, opset: int) -> None:
    """Replace operations by calls of functions, and let calls be inlined, in a graph and its functions."""
    table = {**_DECOMPOSED, **(ADDING if opset >= ADDS else {})}
    functions = list(graph_def.library.function)
    for each in (*functions, *graph_def.node, *(node for function in functions for node in function.node_def)):
        for name in _APART:
            each.attr.pop(name, None)
    signs = _sign_bits(graph_def.node)
    if any(node.op in table or node.name in signs for node in graph_def.node):
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
        for node in list(graph_def.node):
            computed, read = table.get(node.op), node.name
            if node.name in signs:
                computed, read = _sign_bit, signs[node.name].name
                node.input[:] = signs[node.name].input
            if computed is not None:
                inputs = graph.get_operation_by_name(read).inputs
                _replace(tf, graph_def, computed, node, [tf.TensorSpec(each.shape, each.dtype) for each in inputs])
    for function in functions:
        signs = _sign_bits(function.node_def)
        for node in list(function.node_def):
            if node.name in signs:
                node.input[:] = signs[node.name].input
                _replace_within(tf, graph_def, _sign_bit, function, node, [tf.float32])
            elif node.op in table:
                _replace_within(tf, graph_def, table[node.op], function, node, _dtypes(tf, node))


def _sign_bits(nodes: Iterable[_Tf]) -> dict[str, _Tf]:
    """Return what takes the sign bit of a float, as Keras's argmax does, and whence: ONNX knows no bits of floats."""
    known = {node.name: node for node in nodes}
    found = {}
    for node in known.values():
        if node.op != "BitwiseAnd":
            continue
        bits, mask = (known.get(each.partition(":")[0]) for each in node.input[:2])
        if bits is None or mask is None or (bits.op, mask.op) != ("Bitcast", "Const") or bits.attr["T"].type != _FLOAT:
            continue
        if list(mask.attr["value"].tensor.int_val) == [np.iinfo(np.int32).min]:
            found[node.name] = bits
    return found


def _replace(tf: _Tf, graph_def: _Tf, computed: _Computed, node: _Tf, specs: Sequence[_Tf]) -> None:
    attributes = {name: _plain(tf, value) for name, value in node.attr.items()}
    traced = tf.function(lambda *inputs: computed(tf, attributes, *inputs), autograph=False)
    function = traced.get_concrete_function(*specs)
    library = function.graph.as_graph_def().library
    let_call(graph_def, node, function)
    known = {each.signature.name for each in graph_def.library.function}
    graph_def.library.function.extend(each for each in library.function if each.signature.name not in known)


def _replace_within(
    tf: _Tf, graph_def: _Tf, computed: _Computed, function: _Tf, node: _Tf, dtypes: Sequence[_Tf]
) -> None:
    """Replace a node of a function, where shapes are unknown and outputs are read by the names of arguments."""
    from tensorflow.python.framework import op_def_registry

    outputs = [argument.name for argument in op_def_registry.get(node.op).output_arg]
    _replace(tf, graph_def, computed, node, [tf.TensorSpec(None, dtype) for dtype in dtypes])
    if len(outputs) == 1:
        before, after = f"{node.name}:{outputs[0]}:", f"{node.name}:output:"
        for reader in function.node_def:
            reader.input[:] = [
                after + each.removeprefix(before) if each.startswith(before) else each for each in reader.input
            ]
        for name, value in function.ret.items():
            if value.startswith(before):
                function.ret[name] = after + value.removeprefix(before)


def _dtypes(tf: _Tf, node: _Tf) -> list[_Tf]:
    """Return the types of a node's inputs."""
    from tensorflow.python.framework import op_def_registry

    dtypes = []
    for argument in op_def_registry.get(node.op).input_arg:
        kind = argument.type or node.attr[argument.type_attr].type
        dtypes += [tf.dtypes.as_dtype(kind)] * (node.attr[argument.number_attr].i if argument.number_attr else 1)
    return dtypes


def _plain(tf: _Tf, value: _Tf) -> Any:
    kind = value.WhichOneof("value")
    if kind == "list":
        return [*value.list.i, *value.list.f]
    return (
        value.s.decode() if kind == "s" else tf.dtypes.as_dtype(value.type) if kind == "type" else getattr(value, kind)
    )


def _log1p(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor) -> _Tensor:
    """Return log(1 + x) with what rounding takes from 1 + x, as W. Kahan does it."""
    del attributes
    total = 1 + x
    kept = total - 1
    # tf2onnx compares whether floats are equal from opset 11 on.
    rounds = (tf.abs(kept) > 0) & (total < np.inf)
    return tf.where(rounds, tf.math.log(total) * (x / tf.where(rounds, kept, tf.ones_like(x))), x)


def _expm1(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor) -> _Tensor:
    """Return exp(x) - 1, near 0 with the logarithm of what exp(x) is rounded to, as W. Kahan does it."""
    del attributes
    power = tf.exp(x)
    differs = tf.abs(power - 1) > 0
    near = differs & (tf.abs(x) < 0.5)
    kept = tf.where(near, power, 2 * tf.ones_like(x))
    return tf.where(near, (kept - 1) * (x / tf.math.log(kept)), tf.where(differs, power - 1, x))


def _zero_or(tf: _Tf, x: _Tensor, product: _Tensor) -> _Tensor:
    """Return a product, 0 where x is, whatever the other factor is."""
    return tf.where((tf.abs(x) > 0) | tf.math.is_nan(x), product, tf.zeros_like(product))


def _xlogy(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    del attributes
    return _zero_or(tf, x, x * tf.math.log(y))


def _xlog1py(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    return _zero_or(tf, x, x * _log1p(tf, attributes, y))


def _xdivy(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    del attributes
    return _zero_or(tf, x, x / y)


def _mul_no_nan(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    del attributes
    return _zero_or(tf, y, x * y)


def _truncate_div(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    """Divide towards 0, as ONNX divides whole numbers."""
    del attributes
    if not x.dtype.is_floating:
        return tf.raw_ops.TruncateDiv(x=x, y=y)
    quotient = x / y
    return tf.sign(quotient) * tf.floor(tf.abs(quotient))


def _truncate_mod(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, y: _Tensor) -> _Tensor:
    """Return the rest of that division, which has the sign of x."""
    del attributes
    rest = tf.math.floormod(tf.abs(x), tf.abs(y))
    return tf.where(x < 0, -rest, rest)


def _euclidean_norm(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, axes: _Tensor) -> _Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x), axes, keepdims=attributes["keep_dims"]))


def _cross(tf: _Tf, attributes: Mapping[str, Any], a: _Tensor, b: _Tensor) -> _Tensor:
    del attributes
    first, second = ([tf.gather(each, [1, 2, 0], axis=-1), tf.gather(each, [2, 0, 1], axis=-1)] for each in (a, b))
    return first[0] * second[1] - first[1] * second[0]


def _in_top_k(tf: _Tf, attributes: Mapping[str, Any], scores: _Tensor, targets: _Tensor, k: _Tensor) -> _Tensor:
    """Return whether fewer than k classes have a higher score than the target."""
    del attributes
    score = tf.gather(scores, targets[:, None], batch_dims=1)
    better = tf.reduce_sum(tf.cast(scores > score, k.dtype), 1)
    return (better < k) & tf.reduce_all(tf.math.is_finite(scores), 1)


def _bound(*, upper: bool) -> Callable[..., _Tensor]:
    def count(tf: _Tf, attributes: Mapping[str, Any], ranked: _Tensor, values: _Tensor) -> _Tensor:
        """Return how many of the ranked numbers of a row are below a value, or not above."""
        each, ends = values[:, :, None], ranked[:, None]
        below = ends <= each if upper else ends < each
        return tf.reduce_sum(tf.cast(below, attributes.get("out_type", tf.int32)), 2)

    return count


def _shape_n(tf: _Tf, attributes: Mapping[str, Any], *inputs: _Tensor) -> list[_Tensor]:
    return [tf.shape(each, attributes.get("out_type", tf.int32)) for each in inputs]


def _broadcast_args(tf: _Tf, attributes: Mapping[str, Any], first: _Tensor, second: _Tensor) -> _Tensor:
    return tf.shape(tf.fill(first, 0.0) + tf.fill(second, 0.0), attributes.get("T", tf.int32))


def _invert_permutation(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor) -> _Tensor:
    del attributes
    return tf.cast(tf.math.top_k(-x, tf.shape(x)[0])[1], x.dtype)


def _segments(name: str) -> Callable[..., _Tensor]:
    def reduce(tf: _Tf, attributes: Mapping[str, Any], data: _Tensor, ids: _Tensor) -> _Tensor:
        """Reduce the rows of each segment, of which those without a row are 0 (1 for a product)."""
        del attributes
        reduced = getattr(tf.raw_ops, name)(data=data, segment_ids=ids)
        counts = tf.math.segment_sum(tf.ones_like(ids, data.dtype), ids)
        shape = tf.concat([tf.shape(counts), tf.ones([tf.rank(data) - 1], tf.int32)], 0)
        return tf.where(tf.reshape(counts, shape) > 0, reduced, tf.zeros_like(reduced))

    return reduce


def _unsorted_segments(name: str) -> Callable[..., _Tensor]:
    def reduce(tf: _Tf, attributes: Mapping[str, Any], data: _Tensor, ids: _Tensor, count: _Tensor) -> _Tensor:
        """Reduce the rows of each segment without those of no segment, whose id is negative."""
        del attributes
        rest = tf.shape(data)[tf.rank(ids) :]
        rows, ids = tf.reshape(data, tf.concat([[-1], rest], 0)), tf.reshape(ids, [-1])
        none = tf.cast(count, ids.dtype)
        kept = tf.where(ids < 0, none, ids)
        reduced = getattr(tf.raw_ops, name)(data=rows, segment_ids=kept, num_segments=count + 1)[:count]
        if not data.dtype.is_floating or name not in ("UnsortedSegmentMax", "UnsortedSegmentMin"):
            return reduced
        # tf2onnx makes infinity of a segment without a row.
        limit = tf.maximum if name.endswith("Max") else tf.minimum
        return limit(reduced, data.dtype.min if name.endswith("Max") else data.dtype.max)

    return reduce


def _scatter_nd(tf: _Tf, attributes: Mapping[str, Any], indices: _Tensor, updates: _Tensor, shape: _Tensor) -> _Tensor:
    """Add up what has the same place, of which tf2onnx keeps one."""
    del attributes
    return tf.tensor_scatter_nd_add(tf.zeros(shape, updates.dtype), indices, updates)


def _sign_bit(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor) -> _Tensor:
    del attributes
    negative = (x < 0) | ((tf.abs(x) <= 0) & (1 / x < 0))
    return tf.where(negative, np.iinfo(np.int32).min, 0)


def _diagonal(tf: _Tf, attributes: Mapping[str, Any], diagonal: _Tensor, k: _Tensor, *more: _Tensor) -> _Tensor:
    """Return matrices with one diagonal; tf2onnx loses a batch of 1 axis."""
    if k.shape.rank != 0:
        return tf.raw_ops.MatrixDiagV3(
            diagonal=diagonal, k=k, num_rows=more[0], num_cols=more[1], padding_value=more[2], align=attributes["align"]
        )
    rows, columns, padding = more
    length = tf.shape(diagonal)[-1]
    least = length - tf.minimum(k, 0), length + tf.maximum(k, 0)
    square = tf.maximum(*least)
    sizes = [
        tf.where(wanted < 0, tf.where(other < 0, square, needed), wanted)
        for wanted, other, needed in zip((rows, columns), (columns, rows), least, strict=True)
    ]
    return _with_diagonal(tf, sizes, diagonal, k, padding)


def _set_diagonal(tf: _Tf, attributes: Mapping[str, Any], matrix: _Tensor, diagonal: _Tensor, k: _Tensor) -> _Tensor:
    if k.shape.rank != 0:
        return tf.raw_ops.MatrixSetDiagV3(input=matrix, diagonal=diagonal, k=k, align=attributes["align"])
    shape = tf.shape(matrix)
    return _with_diagonal(tf, [shape[-2], shape[-1]], diagonal, k, matrix)


def _with_diagonal(tf: _Tf, sizes: Sequence[_Tensor], diagonal: _Tensor, k: _Tensor, others: _Tensor) -> _Tensor:
    row, column = tf.range(sizes[0])[:, None], tf.range(sizes[1])[None]
    place = tf.clip_by_value(tf.minimum(row, column), 0, tf.shape(diagonal)[-1] - 1)
    values = tf.gather(diagonal, tf.reshape(place, [-1]), axis=-1)
    values = tf.reshape(values, tf.concat([tf.shape(diagonal)[:-1], sizes], 0))
    return tf.where(tf.equal(column - row, k), values, others)


def _fake_quantized(name: str) -> _Computed:
    def quantize(tf: _Tf, attributes: Mapping[str, Any], x: _Tensor, *ends: _Tensor) -> _Tensor:
        """Round to one of the levels between both ends, of which 0 is one, as `fake_quant_ops_functor.h` does."""
        bits, narrow = attributes.get("num_bits", 8), attributes.get("narrow_range", False)
        if name in QUANTIZED and bits == 8 and not narrow:
            settings = {} if ends else {"min": attributes["min"], "max": attributes["max"]}
            return getattr(tf.raw_ops, name)(inputs=x, **settings, **dict(zip(("min", "max"), ends, strict=False)))
        low, high = ends or (tf.constant(attributes["min"]), tf.constant(attributes["max"]))
        first, last = int(narrow), 2**bits - 1
        scale = (high - low) / (last - first)
        zero = tf.clip_by_value(tf.floor(first - low / scale + 0.5), first, last)
        low, high = (first - zero) * scale, (last - zero) * scale
        inverse = 1 / scale
        shifted = (tf.maximum(tf.minimum(x, high), low) - low) * inverse
        return tf.floor(shifted - tf.floor(-low * inverse + 0.5) + 0.5) * scale

    return quantize


def _rgb_to_hsv(tf: _Tf, attributes: Mapping[str, Any], images: _Tensor) -> _Tensor:
    """Return hue, saturation and value, as of `colorspace_op.h`."""
    del attributes
    r, g, b = (images[..., place] for place in range(3))
    value = tf.reduce_max(images, -1)
    extent = value - tf.reduce_min(images, -1)
    saturation = tf.where(value > 0, extent / tf.where(value > 0, value, 1), 0)
    norm = 1 / tf.where(extent > 0, 6 * extent, 1)
    hue = tf.where(
        r >= value,
        norm * (g - b),
        tf.where(g >= value, norm * (b - r) + 2 / 6, norm * (r - g) + 4 / 6),
    )
    hue = tf.where(extent > 0, hue, 0)
    return tf.stack([tf.where(hue < 0, hue + 1, hue), saturation, value], -1)


def _hsv_to_rgb(tf: _Tf, attributes: Mapping[str, Any], images: _Tensor) -> _Tensor:
    del attributes
    hue, saturation, value = (images[..., place, None] for place in range(3))
    turned = tf.abs(hue * 6 - tf.constant([3.0, 2.0, 4.0], images.dtype))
    pure = tf.constant([-1.0, 2.0, 2.0], images.dtype) + tf.constant([1.0, -1.0, -1.0], images.dtype) * turned
    return value * (1 - saturation + saturation * tf.clip_by_value(pure, 0, 1))


def _extract_patches(tf: _Tf, attributes: Mapping[str, Any], images: _Tensor) -> _Tensor:
    """Take the rows of all patches, and then the columns."""
    _, *sides, _ = attributes["ksizes"]
    _, *strides, _ = attributes["strides"]
    _, *rates, _ = attributes["rates"]
    counts = []
    for axis, side, stride, rate in zip((1, 2), sides, strides, rates, strict=True):
        extent, reach = tf.shape(images)[axis], (side - 1) * rate + 1
        if attributes["padding"] == "SAME":
            count = (extent + stride - 1) // stride
            missing = tf.maximum((count - 1) * stride + reach - extent, 0)
            ends = [[0, 0], [0, 0], [0, 0], [0, 0]]
            ends[axis] = [missing // 2, missing - missing // 2]
            images = tf.pad(images, ends)
        else:
            count = (extent - reach) // stride + 1
        places = tf.range(count)[:, None] * stride + tf.range(side)[None] * rate
        images = tf.gather(images, tf.reshape(places, [-1]), axis=axis)
        counts.append(count)
    shape = tf.shape(images)
    apart = tf.reshape(images, [shape[0], counts[0], sides[0], counts[1], sides[1], shape[3]])
    together = tf.transpose(apart, [0, 1, 3, 2, 4, 5])
    return tf.reshape(together, [shape[0], *counts, sides[0] * sides[1] * shape[3]])


def _resize_bilinear(tf: _Tf, attributes: Mapping[str, Any], images: _Tensor, size: _Tensor) -> _Tensor:
    """Make floats of whole numbers first, which tf2onnx takes for the type of the result."""
    names = ("align_corners", "half_pixel_centers")
    settings = {name: attributes[name] for name in names if name in attributes}
    return tf.raw_ops.ResizeBilinear(images=tf.cast(images, tf.float32), size=size, **settings)


_DECOMPOSED: _Table = {
    "BroadcastArgs": _broadcast_args,
    "Cross": _cross,
    "EuclideanNorm": _euclidean_norm,
    "Expm1": _expm1,
    "ExtractImagePatches": _extract_patches,
    "HSVToRGB": _hsv_to_rgb,
    "InTopKV2": _in_top_k,
    "InvertPermutation": _invert_permutation,
    "Log1p": _log1p,
    "LowerBound": _bound(upper=False),
    "MatrixDiagV3": _diagonal,
    "MatrixSetDiagV3": _set_diagonal,
    "MulNoNan": _mul_no_nan,
    "RGBToHSV": _rgb_to_hsv,
    "ResizeArea": resampled.area,
    "ResizeBilinear": _resize_bilinear,
    "ScaleAndTranslate": resampled.scale_and_translate,
    "ShapeN": _shape_n,
    "TruncateDiv": _truncate_div,
    "TruncateMod": _truncate_mod,
    "UpperBound": _bound(upper=True),
    "Xdivy": _xdivy,
    "Xlog1py": _xlog1py,
    "Xlogy": _xlogy,
    **{name: _fake_quantized(name) for name in (*QUANTIZED, "FakeQuantWithMinMaxVarsPerChannel")},
    **{name: _segments(name) for name in ("SegmentMax", "SegmentMean", "SegmentMin")},
    **{
        f"UnsortedSegment{kind}": _unsorted_segments(f"UnsortedSegment{kind}") for kind in ("Max", "Min", "Prod", "Sum")
    },
}
# ONNX adds up what is scattered from an opset on.
ADDING: _Table = {"ScatterNd": _scatter_nd}
