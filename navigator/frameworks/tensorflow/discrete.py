"""Numbers that TensorFlow looks up in a table, sorts into buckets or encodes, in ONNX. For tf2onnx 1.16 and 1.17."""

from typing import Any

import numpy as np

_FLOAT, _UINT8, _INT32, _INT64, _STRING, _BOOL, _HALF, _DOUBLE = 1, 2, 6, 7, 8, 9, 10, 11

# What ONNX Runtime chooses from with Where, and doesn't encode.
_CHOSEN = frozenset({_UINT8, _INT32, _INT64, _BOOL, _HALF, _DOUBLE})

_Graph = Any
_Node = Any


def find(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert a lookup of numbers in a table of numbers; tf2onnx only converts those from and to text.

    Compares each number with all keys: keys are unique, so that the sum of the places that match is the place.
    """
    from tf2onnx import utils
    from tf2onnx.custom_opsets.onnx_ml import LookupTableFind

    (tables,) = arguments
    table, _, default = node.inputs
    while table.type == "Identity":
        table = table.inputs[0]
    keys, values = (np.array(each) for each in tables.get(table.get_attr_value("shared_name"), ((), ())))
    kinds = {graph.get_dtype(node.input[1]), graph.get_dtype(node.output[0])}
    if _STRING in kinds or not keys.size or not default.is_const():
        LookupTableFind.version_8(graph, node, initialized_tables=tables)
        return
    dtypes, shapes, outputs, given = node.output_dtypes, [graph.get_shape(node.input[1])], node.output, node.input[1]
    kept = np.concatenate([default.get_tensor_value(as_list=False).reshape(1), values])
    known = graph.make_const(utils.make_name(name), keys.astype(utils.map_onnx_to_numpy_type(graph.get_dtype(given))))
    graph.remove_node(node.name)
    if not graph.find_output_consumers(table.output[0]):
        graph.remove_node(table.name)
    alike = graph.make_node("Equal", [_column(graph, given), known.output[0]]).output[0]
    places = graph.make_const(utils.make_name(name), np.arange(1, keys.size + 1)).output[0]
    hits = graph.make_node("Mul", [_cast(graph, alike, _INT64), places]).output[0]
    rows = graph.make_const(utils.make_name(name), kept.astype(utils.map_onnx_to_numpy_type(dtypes[0]))).output[0]
    graph.make_node("Gather", [rows, _sum(graph, hits)], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def bucketize(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert Bucketize, as of Keras's Discretization, to the number of boundaries that a number isn't below."""
    from tf2onnx import utils

    del arguments
    dtypes, shapes, outputs, given = node.output_dtypes, node.output_shapes, node.output, node.input[0]
    boundaries = np.array(node.get_attr_value("boundaries"), np.float32)
    graph.remove_node(node.name)
    if graph.get_dtype(given) == _DOUBLE:
        boundaries = boundaries.astype(np.float64)
    elif graph.get_dtype(given) != _FLOAT:
        given = _cast(graph, given, _FLOAT)
    ends = graph.make_const(utils.make_name(name), boundaries).output[0]
    below = graph.make_node("Less", [_column(graph, given), ends]).output[0]
    reached = graph.make_node("Not", [below]).output[0]
    counted = _sum(graph, _cast(graph, reached, _INT32))
    graph.make_node("Identity", [counted], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def one_hot(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert OneHot so that an index outside of the depth, such as -1 for no class, gives zeros.

    ONNX counts negative indices from the end: they become the depth, which is outside. tf2onnx makes a lookup of what
    isn't float32, which refuses others; so they're compared with all indices.
    """
    from tf2onnx import utils
    from tf2onnx.onnx_opset.tensor import OneHot

    del arguments
    given, depth, on, off = node.input
    axis, rank, kind = node.get_attr_value("axis"), graph.get_rank(given), graph.get_dtype(node.output[0])
    shape = graph.get_shape(given)
    if graph.get_dtype(given) != _INT64:
        given = _cast(graph, given, _INT64)
    if kind not in _CHOSEN or not node.inputs[1].is_const() or rank is None:
        zero = graph.make_const(utils.make_name(name), np.array(0, np.int64)).output[0]
        below = graph.make_node("Less", [given, zero]).output[0]
        outside = _cast(graph, depth, _INT64)
        inside = graph.make_node("Where", [below, outside, given], dtypes=[_INT64], shapes=[shape]).output[0]
        graph.replace_input(node, node.input[0], inside, 0)
        OneHot.version_11(graph, node)
        return
    after = rank - (axis if axis >= 0 else rank)
    indices = np.arange(int(node.inputs[1].get_tensor_value())).reshape(-1, *[1] * after)
    every = graph.make_const(utils.make_name(name), indices).output[0]
    dtypes, shapes, outputs = node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    alike = graph.make_node("Equal", [_column(graph, given, -1 - after), every]).output[0]
    if kind == _BOOL:  # ONNX Runtime (1.32) doesn't choose bools
        chosen = graph.make_node("Where", [alike, *(_cast(graph, each, _UINT8) for each in (on, off))]).output[0]
        graph.make_node("Cast", [chosen], attr={"to": kind}, dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)
        return
    graph.make_node("Where", [alike, on, off], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def _column(graph: _Graph, value: str, axis: int = -1) -> str:
    """Return a value with an axis of one element, at its end unless `axis` says where."""
    from tf2onnx.graph_builder import GraphBuilder

    return str(GraphBuilder(graph).make_unsqueeze({"data": value, "axes": [axis]}))


def _sum(graph: _Graph, value: str) -> str:
    """Return the sum along the last axis."""
    from tf2onnx.graph_builder import GraphBuilder

    return str(GraphBuilder(graph).make_reduce_sum({"data": value, "axes": [-1], "keepdims": 0}))


def _cast(graph: _Graph, value: str, dtype: int) -> str:
    return str(graph.make_node("Cast", [value], attr={"to": dtype}).output[0])
