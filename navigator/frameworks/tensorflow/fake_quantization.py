"""What TensorFlow's quantization-aware training leaves in a graph, as ONNX's Q/DQ nodes. For tf2onnx 1.16 and 1.17.

tf2onnx computes the zero point in float64. That of a symmetric range is 127.5 there, but it may be 127.49999 in
TensorFlow's float32, so that all levels end a step earlier or later.
"""

from typing import Any

import numpy as np

QUANTIZED = ("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars")
"""What becomes Q/DQ nodes with all 256 levels; `decomposed` makes arithmetic of others."""

_Graph = Any
_Node = Any

_LEVELS = 255
_UINT8 = 2


def quantize(graph: _Graph, node: _Node, name: str, arguments: list[Any]) -> None:
    """Convert FakeQuantWithMinMaxArgs and FakeQuantWithMinMaxVars with constant ends and all 256 levels."""
    from tf2onnx import utils
    from tf2onnx.onnx_opset.quantize import FakeQuantWithMinMaxArgs

    has_ends = node.type == "FakeQuantWithMinMaxVars"
    plain = node.get_attr_value("num_bits", 8) == _LEVELS.bit_length() and not node.get_attr_value("narrow_range", 0)
    if not plain or (has_ends and not all(each.is_const() for each in node.inputs[1:3])):
        FakeQuantWithMinMaxArgs.version_10(graph, node, name=name, args=arguments)  # says what it can't do
        return
    low, high = (
        np.float32(node.inputs[1 + place].get_tensor_value() if has_ends else node.get_attr_value(key))
        for place, key in enumerate(("min", "max"))
    )
    scale = (high - low) / np.float32(_LEVELS)
    # As TensorFlow does: a half is rounded up.
    zero = np.clip(np.floor(-low / scale + np.float32(0.5)), 0, _LEVELS).astype(np.uint8)
    constants = [
        graph.make_const(utils.make_name(f"{name}_{key}"), np.array(value)).output[0]
        for key, value in (("scale", scale), ("zero_point", zero))
    ]
    value, dtypes, shapes, outputs = node.input[0], node.output_dtypes, node.output_shapes, node.output
    graph.remove_node(node.name)
    rounded = graph.make_node("QuantizeLinear", [value, *constants], dtypes=[_UINT8], shapes=shapes).output[0]
    graph.make_node("DequantizeLinear", [rounded, *constants], dtypes=dtypes, shapes=shapes, name=name, outputs=outputs)
