"""TensorFlow's bicubic resize in ONNX, with the very weights that TensorFlow uses. For tf2onnx 1.16 and 1.17.

tf2onnx writes ONNX's Resize, whose weights are exact. TensorFlow rounds the place between two pixels to 1/1024 first,
so that the results differ by 1e-3; and without half pixel centers, it has another kernel. Besides, ONNX Runtime's
optimizer breaks that Resize where an image gets smaller (1.32).
"""

from typing import Any

import numpy as np

_STEPS = 1024

# As ONNX writes them.
_FLOAT, _INT64 = 1, 7

# Where the four pixels are that a value is made of, seen from the last one before it.
_TAPS = np.arange(-1, 3)

_Graph = Any
_Node = Any


def resize(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert ResizeBicubic to a weighted sum of four rows, and then of four columns, for each row and column.

    The weights are constants, or computed where only a run of the model tells the sizes.
    """
    from tf2onnx import utils

    del arguments
    shape = graph.get_shape(node.input[0]) or [-1] * 4
    sizes = node.inputs[1].get_tensor_value() if node.inputs[1].is_const() else None
    wanted = node.input[1]
    half_pixels, corners = (bool(node.get_attr_value(each, 0)) for each in ("half_pixel_centers", "align_corners"))
    value, dtypes, shapes, outputs = node.input[0], node.output_dtypes, node.output_shapes, node.output
    if graph.get_dtype(value) != dtypes[0]:
        value = graph.make_node("Cast", [value], attr={"to": dtypes[0]}).output[0]
    graph.remove_node(node.name)
    for axis, after in ((1, "height"), (2, "width")):
        if sizes is None or shape[axis] < 0:
            constants = _computed(graph, value, wanted, axis, half_pixels=half_pixels, corners=corners)
        else:
            places, weights = _taps(shape[axis], sizes[axis - 1], half_pixels=half_pixels, corners=corners)
            # To the axes [..., size, tap, ...] of what is gathered, without the batch.
            weights = weights.reshape((1,) * (axis - 1) + weights.shape + (1,) * (3 - axis))
            constants = [
                graph.make_const(utils.make_name(f"{name}_{after}"), array).output[0] for array in (places, weights)
            ]
        taken = graph.make_node("Gather", [value, constants[0]], attr={"axis": axis}).output[0]
        weighted = graph.make_node("Mul", [taken, constants[1]]).output[0]
        value = _summed(graph, weighted, axis + 1)
    graph.make_node("Identity", [value], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)


def _computed(graph: _Graph, value: str, wanted: str, axis: int, *, half_pixels: bool, corners: bool) -> list[str]:
    """Return what `_taps` does, in the shape for what is gathered, from sizes that only a run tells."""
    from tf2onnx import utils
    from tf2onnx.graph_builder import GraphBuilder

    def constant(array: Any, dtype: Any = np.float32) -> str:
        return str(graph.make_const(utils.make_name("bicubic"), np.array(array, dtype)).output[0])

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        return str(graph.make_node(kind, list(inputs), attr=attributes).output[0])

    def column(vector: str) -> str:
        return str(GraphBuilder(graph).make_unsqueeze({"data": vector, "axes": [1]}))

    one, half = constant(1), constant(0.5 if half_pixels else 0)
    before = node("Cast", node("Gather", node("Shape", value), constant(axis, np.int64)), to=_FLOAT)
    count = node("Cast", node("Gather", wanted, constant(axis - 1, np.int64)), to=_INT64)
    after = node("Cast", count, to=_FLOAT)
    scale = node("Div", before, after)
    if corners:
        ends = node("Div", node("Sub", before, one), node("Max", node("Sub", after, one), one))
        scale = node("Where", node("Greater", after, one), ends, scale)
    positions = node("Range", constant(0, np.int64), count, constant(1, np.int64))
    place = node("Sub", node("Mul", node("Add", node("Cast", positions, to=_FLOAT), half), scale), half)
    first = node("Floor", place)
    step = node("Cast", node("Round", node("Mul", node("Sub", place, first), constant(_STEPS))), to=_INT64)
    rest = node("Sub", constant(_STEPS, np.int64), step)
    near, far = (constant(each) for each in _kernel(half_pixels=half_pixels))
    shares = [column(node("Gather", *each)) for each in ((far, step), (near, step), (near, rest), (far, rest))]
    weights = node("Concat", *shares, axis=1)
    pixels = node("Add", column(first), constant(_TAPS[None]))
    inside = node("Min", node("Max", pixels, constant(0)), node("Sub", before, one))
    if half_pixels:
        weights = node("Where", node("Equal", pixels, inside), weights, constant(0))
        total = GraphBuilder(graph).make_reduce_sum({"data": weights, "axes": [1], "keepdims": 1})
        weights = node("Div", weights, total)
    weights = GraphBuilder(graph).make_unsqueeze({"data": weights, "axes": list(range(2, 5 - axis))})
    return [node("Cast", inside, to=_INT64), str(weights)]


def _summed(graph: _Graph, value: str, axis: int) -> str:
    from tf2onnx.graph_builder import GraphBuilder

    return str(GraphBuilder(graph).make_reduce_sum({"data": value, "axes": [axis], "keepdims": 0}))


def _taps(before: int, after: int, *, half_pixels: bool, corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return which four pixels of `before` each of `after` is made of, int64 [after, 4], and their float32 weights.

    As in TensorFlow's `resize_bicubic_op.cc`: Keys' kernel with a = -0.5 and no weight beyond the edges for half pixel
    centers, else -0.75 and the pixel at the edge once more. R. Keys, Cubic convolution interpolation for digital image
    processing, 1981.
    """
    scale = np.float32((before - 1) / (after - 1)) if corners and after > 1 else np.float32(before) / np.float32(after)
    half = np.float32(0.5 if half_pixels else 0)
    place = (np.arange(after, dtype=np.float32) + half) * scale - half
    first = np.floor(place)
    step = np.rint((place - first) * _STEPS).astype(np.int64)
    near, far = _kernel(half_pixels=half_pixels)
    weights = np.stack([far[step], near[step], near[_STEPS - step], far[_STEPS - step]], 1)
    pixels = first.astype(np.int64)[:, None] + _TAPS
    inside = np.clip(pixels, 0, before - 1)
    if half_pixels:
        weights = np.where(pixels == inside, weights, 0)
        weights /= weights.sum(1, keepdims=True)
    return inside, weights.astype(np.float32)


def _kernel(*, half_pixels: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of a pixel up to one step away, and of one further away, by the distance in 1/1024."""
    a = -0.5 if half_pixels else -0.75
    near = np.arange(_STEPS + 1) / _STEPS
    far = near + 1
    return ((a + 2) * near - (a + 3)) * near**2 + 1, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
