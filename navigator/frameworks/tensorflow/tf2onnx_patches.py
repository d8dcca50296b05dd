"""What tf2onnx 1.16 and 1.17 need to be helped with. Each entry says what it mends and when it can go.

Owns changes of tf2onnx's behaviour and nothing else. They hold for the length of a `with` block, or travel as
arguments.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_ERF_OPSET = 9

_Graph = Any
_Node = Any
_Handler = tuple[Callable[[_Graph, _Node, str, list[Any]], Any], list[Any]]


def custom_op_handlers(opset: int) -> dict[str, _Handler]:
    """Return converters to `opset` for TensorFlow operations that tf2onnx 1.17 does not know.

    Erfc: TensorFlow 2.16 and newer emit it for Keras' exact gelu. To go once tf2onnx converts it (its #2463).
    """
    return {"Erfc": (_erfc, [])} if opset >= _ERF_OPSET else {}


@contextlib.contextmanager
def weights_copied_once() -> Iterator[None]:
    """Keep tf2onnx from copying every weight after each of its optimizer's dozens of passes.

    A node's protobuf is rebuilt after each pass (`Node.update_proto`), which for a constant copies the weight;
    `Graph.make_graph` reads constants from the node itself, so nobody ever sees those copies. A ResNet-50 converts
    in 1.7 s with 1.7 GB instead of 3.7 s with 4.2 GB, into the same bytes. Holds for tf2onnx 1.16 and 1.17.
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
    """Collect the operations that tf2onnx skips, with their nodes: it logs them and goes on to write a wrong file."""
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
