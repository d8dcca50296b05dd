"""TensorFlow's Fourier transforms of real signals in ONNX, as products with a matrix. For tf2onnx 1.16 and 1.17.

tf2onnx only converts one whose magnitude is read, and none in a batch of any size. ONNX's own DFT is in few runtimes.
What is complex in TensorFlow has the real and the imaginary part on a first axis here, as in tf2onnx.
"""

from typing import Any

import numpy as np

_Graph = Any
_Node = Any

# What reads a part of each number. All else would take the first axis for one of its own.
_READERS = {"ComplexAbs", "Imag", "Real"}


def transform(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert RFFT, which cuts the signal to the length of the transform."""
    from tf2onnx import utils
    from tf2onnx.graph_builder import GraphBuilder

    del arguments
    shape, length = graph.get_shape(node.input[0]), node.inputs[1]
    readers = {each.type for each in graph.find_output_consumers(node.output[0])}
    utils.make_sure(readers <= _READERS, "RFFT is read by %s, but only by %s in ONNX", readers, _READERS)
    utils.make_sure(
        shape is not None and len(shape) > 1 and length.is_const(), "RFFT of an unknown length, or of no batch"
    )
    count = int(np.ravel(length.get_tensor_value())[0])
    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))
    outputs, shapes = node.output, [[2, *shape[:-1], count // 2 + 1]]
    builder, last = GraphBuilder(graph), len(shape) - 1
    value = builder.make_slice({"data": node.input[0], "starts": [0], "ends": [count], "axes": [last]})
    value = builder.make_unsqueeze({"data": value, "axes": [0]})
    angles = -2 * np.pi / count * (np.outer(np.arange(count), np.arange(count // 2 + 1)) % count)
    matrix = np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)
    matrix = matrix.reshape(2, *[1] * (last - 1), *matrix.shape[1:])
    constant = graph.make_const(utils.make_name(f"{name}_waves"), matrix).output[0]
    dtypes = [graph.get_dtype(node.input[0])]
    graph.remove_node(node.name)
    graph.make_node("MatMul", [value, constant], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def part(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert Real and Imag: the place of the part on the first axis is the only argument."""
    from tf2onnx import utils

    (place,) = arguments
    index = graph.make_const(utils.make_name(name), np.array(place, np.int64)).output[0]
    inputs, dtypes, shapes, outputs = [node.input[0], index], node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    graph.make_node("Gather", inputs, attr={"axis": 0}, dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)
