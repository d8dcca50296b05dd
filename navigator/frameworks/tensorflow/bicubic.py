"""TensorFlow's bicubic resize in ONNX, with the very weights that TensorFlow uses. For tf2onnx 1.16 and 1.17.

tf2onnx writes ONNX's Resize, whose weights are exact. TensorFlow rounds the place between two pixels to 1/1024 first,
so that the results differ by 1e-3; and without half pixel centers, it has another kernel. Besides, ONNX Runtime's
optimizer breaks that Resize where an image gets smaller (1.32).
"""

from typing import Any

import numpy as np

_STEPS = 1024

# Where the four pixels are that a value is made of, seen from the last one before it.
_TAPS = np.arange(-1, 3)

_Graph = Any
_Node = Any


def resize(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert ResizeBicubic to a weighted sum of four rows, and then of four columns, for each row and column.

    Sizes that only a run of the model tells are left to tf2onnx.
    """
    from tf2onnx import utils
    from tf2onnx.onnx_opset.nn import Resize

    shape = graph.get_shape(node.input[0])
    if not shape or min(shape[1:3]) < 0 or not node.inputs[1].is_const():
        Resize.version_11(graph, node, name=name, args=arguments)
        return
    sizes = node.inputs[1].get_tensor_value()
    half_pixels, corners = (bool(node.get_attr_value(each, 0)) for each in ("half_pixel_centers", "align_corners"))
    value, dtypes, shapes, outputs = node.input[0], node.output_dtypes, node.output_shapes, node.output
    if graph.get_dtype(value) != dtypes[0]:
        value = graph.make_node("Cast", [value], attr={"to": dtypes[0]}).output[0]
    graph.remove_node(node.name)
    for axis, after in ((1, "height"), (2, "width")):
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
    a = -0.5 if half_pixels else -0.75
    near = np.arange(_STEPS + 1) / _STEPS
    far = near + 1
    near = ((a + 2) * near - (a + 3)) * near**2 + 1
    far = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    weights = np.stack([far[step], near[step], near[_STEPS - step], far[_STEPS - step]], 1)
    pixels = first.astype(np.int64)[:, None] + _TAPS
    inside = np.clip(pixels, 0, before - 1)
    if half_pixels:
        weights = np.where(pixels == inside, weights, 0)
        weights /= weights.sum(1, keepdims=True)
    return inside, weights.astype(np.float32)
