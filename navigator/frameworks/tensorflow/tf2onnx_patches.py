"""Workarounds for tf2onnx 1.16 and 1.17. Each one says what it fixes and when to remove it.

They apply within a `with` block, or are passed as arguments.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from navigator.frameworks.tensorflow import bicubic, discrete, fake_quantization, spectra

_ERF_OPSET = 9
_WHERE_OPSET = 9
_MOD_OPSET = 10
_QUANTIZE_OPSET = 10
_RESIZE_OPSET = 11
_RANK_OPSET = 11
_DISCRETE_OPSET = 11  # negative axes, and comparisons of whole numbers

# What a size goes through on its way from the operation that reads it, in TensorFlow and ONNX.
_OF_SIZES = frozenset({"Add", "AddV2", "Cast", "ConcatV2", "Gather", "GatherV2", "Identity", "Mul", "Pack", "Prod"}) | {
    "Concat",
    "ReduceProd",
    "Reshape",
    "Slice",
    "Squeeze",
    "StridedSlice",
    "Unsqueeze",
}
_SIZES = frozenset({"Shape", "Size"})
# Of these, all inputs count.
_COMBINING = frozenset({"Add", "AddV2", "Concat", "ConcatV2", "Mul", "Pack"})

# ONNX's float32, float16 and float64.
_FLOATS = frozenset({1, 10, 11})

_Graph = Any
_Node = Any

Tables = Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
_Handler = tuple[Callable[[_Graph, _Node, str, list[Any]], Any], list[Any]]


def custom_op_handlers(opset: int, tables: Tables | None = None) -> dict[str, _Handler]:
    """Return converters to `opset` for TensorFlow operations that tf2onnx 1.17 doesn't support, or gets wrong.

    Erfc: TensorFlow 2.16 and newer use it for Keras' exact gelu. Remove once tf2onnx supports it (its #2463).

    FloorDiv, FloorMod: `x // 3` and `x % 3` of whole numbers. tf2onnx rounds negative quotients towards 0 instead of
    down, so that -1 // 3 is 0. Remove once it converts both rightly.

    ResizeBicubic: see `bicubic`. Remove once tf2onnx writes TensorFlow's weights.

    TopKV2, which `tf.sort` is made of, too: tf2onnx ranks whole numbers and doubles as float32, in which 16777217 is
    16777216. Remove once it ranks them as they are.

    AddN: tf2onnx writes Sum, which is invalid for whole numbers. Remove once it writes something else for them.

    FakeQuantWithMinMaxArgs, FakeQuantWithMinMaxVars: see `fake_quantization`. Remove once tf2onnx has TensorFlow's zero
    point.

    RFFT, Real, Imag: see `spectra`. Remove once tf2onnx converts what `tf.signal.stft` and Keras's layers make of them.

    Select, SelectV2: `tf.where(x > 0, tf.math.log(x), 0)`. tf2onnx multiplies both sides by 1 or 0, so that what isn't
    finite on the other side makes NaN. Remove once it always writes Where.

    OneHot: see `discrete`. Remove once tf2onnx makes zeros of negative indices, and of all numbers too large.

    Bucketize, LookupTableFindV2: see `discrete`. Remove once tf2onnx converts the first, and tables of numbers.
    `tables` are the keys and values of the model's tables by name.
    """
    erfc: dict[str, _Handler] = {"Erfc": (_erfc, [])} if opset >= _ERF_OPSET else {}
    rounding: dict[str, _Handler] = {"FloorDiv": (_floor_div, []), "FloorMod": (_floor_mod, [])}
    resizing: dict[str, _Handler] = {"ResizeBicubic": (bicubic.resize, [])} if opset >= _RESIZE_OPSET else {}
    ranking: dict[str, _Handler] = {"TopKV2": (_top_k, [])} if opset >= _RANK_OPSET else {}
    rounded = rounding if opset >= _MOD_OPSET else {}
    tabular: dict[str, _Handler] = {
        "Bucketize": (discrete.bucketize, []),
        "OneHot": (discrete.one_hot, []),
        "LookupTableFindV2": (discrete.find, ["LookupTableFindV2", tables or {}]),  # tf2onnx renames it to the first
    }
    discretizing = tabular if opset >= _DISCRETE_OPSET else {}
    spectral: dict[str, _Handler] = {
        "RFFT": (spectra.transform, []),
        "Real": (spectra.part, ["Real", 0]),
        "Imag": (spectra.part, ["Imag", 1]),
    }
    kinds = fake_quantization.QUANTIZED if opset >= _QUANTIZE_OPSET else ()
    quantizing: dict[str, _Handler] = dict.fromkeys(kinds, (fake_quantization.quantize, []))
    kinds = ("Select", "SelectV2") if opset >= _WHERE_OPSET else ()
    selecting: dict[str, _Handler] = dict.fromkeys(kinds, (_select, []))
    return {
        **quantizing,
        **erfc,
        **selecting,
        **discretizing,
        **rounded,
        **resizing,
        **ranking,
        **spectral,
        "AddN": (_add_n, []),
    }


@contextlib.contextmanager
def weights_copied_once() -> Iterator[None]:
    """Keep tf2onnx from copying every weight after each of its optimizer's dozens of passes.

    tf2onnx rebuilds the protobuf of a node after each pass (`Node.update_proto`), which copies the weight of a
    constant. The copies are never used, since `Graph.make_graph` reads constants from the node itself. A ResNet-50
    converts to the same bytes in 1.7 s with 1.7 GB instead of 3.7 s with 4.2 GB. For tf2onnx 1.16 and 1.17.
    """
    from tf2onnx.graph import Node

    original = Node.update_proto

    def update_proto(node: _Node, *args: Any, **kwargs: Any) -> None:
        if not node.is_const():
            original(node, *args, **kwargs)

    Node.update_proto = update_proto
    try:
        yield
    finally:
        Node.update_proto = original


@contextlib.contextmanager
def unsupported_operations() -> Iterator[dict[str, list[str]]]:
    """Collect the operations that tf2onnx skips, with their nodes: it only logs them, and writes an invalid file."""
    found: dict[str, list[str]] = {}

    def collect(record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Tensorflow op [") and isinstance(record.args, tuple) and len(record.args) == 2:
            name, operation = record.args
            found.setdefault(str(operation), []).append(str(name))
        return True

    logger = logging.getLogger("tf2onnx.tfonnx")
    logger.addFilter(collect)
    try:
        yield found
    finally:
        logger.removeFilter(collect)


def _erfc(graph: _Graph, node: _Node, name: str, _: list[Any]) -> None:
    """Convert Erfc(x) to 1 - Erf(x)."""
    from tf2onnx import utils

    dtype = graph.get_dtype(node.output[0])
    shapes = [graph.get_shape(node.output[0])]
    erf = graph.make_node("Erf", node.input, dtypes=[dtype], shapes=shapes, name=utils.make_name(name))
    one = graph.make_const(utils.make_name(name), np.array(1, dtype=utils.map_onnx_to_numpy_type(dtype)))
    graph.remove_node(node.name)
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], dtypes=[dtype], shapes=shapes, name=name, outputs=node.output
    )


def _floor_div(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert x // y of whole numbers to (x - Mod(x, y)) / y, which leaves no remainder to round."""
    from tf2onnx.onnx_opset.math import FloorDiv

    if not _rounds_down(graph, node):
        FloorDiv.version_6(graph, node, name=name, args=arguments)
        return
    dividend, divisor = node.input
    dtypes, shapes, outputs = node.output_dtypes, node.output_shapes, node.output
    rest = graph.make_node("Mod", [dividend, divisor], dtypes=dtypes, shapes=shapes)
    whole = graph.make_node("Sub", [dividend, rest.output[0]], dtypes=dtypes, shapes=shapes)
    graph.remove_node(node.name)
    graph.make_node("Div", [whole.output[0], divisor], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def _floor_mod(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert x % y of whole numbers to Mod, whose sign is that of y."""
    from tf2onnx.onnx_opset.math import FloorMod

    if not _rounds_down(graph, node):
        FloorMod.version_7(graph, node, name=name, args=arguments)
        return
    inputs, dtypes, shapes, outputs = list(node.input), node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    graph.make_node("Mod", inputs, dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def _select(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert a choice of floats to Where, whatever tf2onnx knows of them."""
    from tf2onnx.onnx_opset.controlflow import Select

    node.set_attr("handles_nan", int(graph.get_dtype(node.output[0]) in _FLOATS))
    Select.version_9(graph, node, name=name, args=arguments)


def _top_k(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Rank numbers in their own type, where ONNX Runtime does, by telling tf2onnx that they're float32."""
    from onnx import TensorProto
    from tf2onnx.onnx_opset.tensor import TopKV2

    values = node.output[0]
    dtype = graph.get_dtype(values)
    is_ranked = dtype in (TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64)
    node.type = "TopK"
    if is_ranked:
        graph.set_dtype(values, TensorProto.FLOAT)
    TopKV2.version_13(graph, node, name=name, args=arguments)
    if is_ranked:
        graph.set_dtype(values, dtype)


def _add_n(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Add whole numbers two by two."""
    from tf2onnx import utils
    from tf2onnx.onnx_opset.reduction import AddN

    if np.dtype(utils.map_onnx_to_numpy_type(graph.get_dtype(node.output[0]))).kind == "f":
        AddN.version_6(graph, node, name=name, args=arguments)
        return
    inputs, dtypes, shapes, outputs = list(node.input), node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    total, *others = inputs
    for each in others:
        total = graph.make_node("Add", [total, each], dtypes=dtypes, shapes=shapes).output[0]
    graph.make_node("Identity", [total], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def _rounds_down(graph: _Graph, node: _Node) -> bool:
    """Return whether whole numbers are divided of which one may be negative, as sizes never are."""
    from tf2onnx import utils

    if np.dtype(utils.map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))).kind != "i":
        return False
    return not all(map(_is_size, node.inputs))


def _is_size(node: _Node) -> bool:
    """Return whether the numbers that a node returns are known to be sizes, or constants that could be."""
    if node is None:
        return False
    if node.is_const():
        return bool(np.all(node.get_tensor_value(as_list=False) >= 0))
    read = node.inputs if node.type in _COMBINING else node.inputs[:1]
    return node.type in _SIZES or (node.type in _OF_SIZES and bool(read) and all(map(_is_size, read)))
