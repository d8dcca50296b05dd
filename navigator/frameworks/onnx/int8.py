"""int8 in an ONNX graph: Q/DQ pairs that say which products of which weights are computed in it, and with what scales.

Quantized are the constant weights and the inputs of Conv, ConvTranspose, Gemm and MatMul, the form that TensorRT's
explicit quantization takes: int8, zero points 0, positive scales, one scale a tensor for inputs and one an output
channel for weights, which are stored as int8. Whatever else reads those tensors (the other side of a residual
connection, an embedding that shares its table) still reads them unquantized, and biases stay as they are.

Not by `onnxruntime.quantization.quantize_static` (1.32): without quantized biases it drops the `beta` of a Gemm, lets
every reader of a tensor read the quantized one, leaves graphs with subgraphs unsorted, and rounds scales to zero once
they are fp16.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx.graph import FLOAT
from navigator.frameworks.onnx.weights import Proto

# Symmetric, so that zero is zero: -128 is not used.
_STEPS = 127

# The axis of the weights that counts the outputs; Gemm's is the other one where it transposes them.
_OUTPUT_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}

QUANTIZING = frozenset(["QuantizeLinear", "DequantizeLinear"])


@dataclass(frozen=True, slots=True)
class _Product:
    """A node that multiplies its first input by constant weights, and the axis of these that has a scale an index."""

    position: int
    tensor: str
    weights: str
    axis: int | None


def is_quantized(model: Proto) -> bool:
    """Return whether any graph in `model` has Q/DQ nodes already."""
    waiting = list(model.graph.node) + [node for function in model.functions for node in function.node]
    while waiting:
        node = waiting.pop()
        if node.op_type in QUANTIZING:
            return True
        waiting += [inner for graph in onnx_graph.subgraphs(node) for inner in graph.node]
    return False


def quantize(model: Proto, directory: Path, samples: Path) -> int:
    """Put Q/DQ pairs into the prepared `model` (`onnx_graph.prepare`) at opset 13 or higher.

    Args:
        model: a model without Q/DQ nodes.
        directory: where its external data lies.
        samples: a directory of `navigator.samples.storage`: the largest value of a tensor on them is its scale.

    Returns:
        How many nodes now multiply int8 values; nodes in subgraphs are left alone.

    Raises:
        StepError: ONNX Runtime cannot load the model or run it on the samples.
    """
    graph = model.graph
    types = onnx_graph.types(model, directory)
    products = _products(graph, types)
    reached = onnx_magnitudes.measure(
        model, directory, samples, tensors=[each.tensor for each in products], smallest_of=()
    )
    written = _Writer(graph, onnx_graph.free_suffix(graph, "_int8"))
    nodes = []
    at = {each.position: each for each in products}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for position, node in enumerate(graph.node):
        if position in at:
            each = at[position]
            node.input[0] = written.input(each.tensor, reached[each.tensor].largest)
            node.input[1] = written.weights(each.weights, each.axis, stored[each.weights], directory)
            nodes += written.taken()
        nodes.append(node)
    onnx_graph.replace(graph.node, nodes)
    _drop_unread(graph, {each.weights for each in products})
    return len(products)


@dataclass(slots=True)
class _Writer:
    """Makes Q and DQ nodes with their scales, once for each tensor."""

    graph: Proto
    suffix: str
    names: dict[str, str] = field(default_factory=dict)
    nodes: list[Proto] = field(default_factory=list)

    def input(self, tensor: str, largest: float) -> str:
        """Return the name of `tensor` rounded to int8."""
        if tensor not in self.names:
            scale = self._constants(tensor, _scales(np.array(largest)))
            self._add("QuantizeLinear", [tensor, *scale], f"{tensor}_quantized{self.suffix}")
            self.names[tensor] = self._add(
                "DequantizeLinear", [f"{tensor}_quantized{self.suffix}", *scale], f"{tensor}_dequantized{self.suffix}"
            )
        return self.names[tensor]

    def weights(self, name: str, axis: int | None, stored: Proto, directory: Path) -> str:
        """Return the name of weights rounded to int8, with a scale for each index of `axis`, or one for all."""
        import onnx

        key = name if axis is None else f"{name}_{axis}"
        if key not in self.names:
            values = onnx_graph.values(stored, directory)
            others = tuple(k for k in range(values.ndim) if k != axis)
            scales = _scales(np.abs(values).max(axis=others, initial=0.0))
            steps = np.rint(values / np.expand_dims(scales, others)).clip(-_STEPS, _STEPS).astype(np.int8)
            self.graph.initializer.append(onnx.numpy_helper.from_array(steps, f"{key}_quantized{self.suffix}"))
            inputs = [f"{key}_quantized{self.suffix}", *self._constants(key, scales)]
            along = {} if axis is None else {"axis": axis}
            self.names[key] = self._add("DequantizeLinear", inputs, f"{key}_dequantized{self.suffix}", **along)
        return self.names[key]

    def taken(self) -> list[Proto]:
        """Return the nodes made since the last call."""
        nodes, self.nodes = self.nodes, []
        return nodes

    def _constants(self, name: str, scales: np.ndarray) -> list[str]:
        import onnx

        names = [f"{name}_scale{self.suffix}", f"{name}_zero{self.suffix}"]
        for each, values in zip(names, (scales, np.zeros(scales.shape, np.int8)), strict=True):
            self.graph.initializer.append(onnx.numpy_helper.from_array(values, each))
        return names

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        import onnx

        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], output, **attributes))
        return output


def _products(graph: Proto, types: Mapping[str, str]) -> list[_Product]:
    weights = {tensor.name: len(tensor.dims) for tensor in graph.initializer if types[tensor.name] == FLOAT}
    found = []
    for position, node in enumerate(graph.node):
        if node.op_type not in _OUTPUT_AXES or node.domain not in onnx_graph.DEFAULT_DOMAINS:
            continue
        tensor, name = node.input[:2]
        if weights.get(name, 0) > 1 and tensor not in weights:
            if node.op_type == "MatMul" and weights[name] > 2:
                # ONNX Runtime's int8 kernel (1.32) takes a scale a column from one matrix only.
                found.append(_Product(position, tensor, name, None))
                continue
            transposed = any(each.name == "transB" and each.i for each in node.attribute)
            found.append(_Product(position, tensor, name, 0 if transposed else _OUTPUT_AXES[node.op_type]))
    return found


def _scales(largest: np.ndarray) -> np.ndarray:
    """Return the steps that 127 of reach `largest`, as float32 that fp16 has too, so that a later fp16 loses nothing.

    Rounded up, never to zero; 1 where there are only zeros, and float32 where fp16 does not reach.
    """
    steps = np.asarray(largest, np.float32) / np.float32(_STEPS)
    with np.errstate(over="ignore"):
        half = steps.astype(np.float16)
    half = np.where(half.astype(np.float32) < steps, np.nextafter(half, np.float16(np.inf)), half)
    scales = np.where(np.isfinite(half), half.astype(np.float32), steps)
    return np.where(steps > 0, scales, np.float32(1)).astype(np.float32)


def _drop_unread(graph: Proto, names: set[str]) -> None:
    """Drop those initializers among `names` that nothing reads any more."""
    read = {value.name for value in graph.output}
    for node in graph.node:
        read |= set(node.input) | onnx_graph.captured(node)
    for position in reversed(range(len(graph.initializer))):
        if graph.initializer[position].name in names - read:
            del graph.initializer[position]
