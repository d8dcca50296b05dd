"""int8 in an ONNX graph: Q/DQ pairs that say which products of which weights are computed in it, and with what scales.

Quantized are the constant weights and the inputs of Conv, ConvTranspose, Gemm and MatMul, the form that TensorRT's
explicit quantization takes: int8, zero points 0, positive scales, one scale a tensor for inputs and one an output
channel for weights, which are stored as int8. Whatever else reads those tensors (the other side of a residual
connection, an embedding that shares its table) still reads them unquantized, and biases stay as they are.

Not by `onnxruntime.quantization.quantize_static` (1.32): without quantized biases it drops the `beta` of a Gemm, lets
every reader of a tensor read the quantized one, leaves graphs with subgraphs unsorted, and rounds scales to zero once
they are fp16.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.weights import Proto

if TYPE_CHECKING:
    import onnx_ir as ir

# Symmetric, so that zero is zero: -128 is not used.
_STEPS = 127

# The axis of the weights that counts the outputs; Gemm's is the other one where it transposes them.
_OUTPUT_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}

QUANTIZING = frozenset(["QuantizeLinear", "DequantizeLinear"])

STORED, SUFFIX = "_quantized", "_int8"
"""What ends the name of weights that are stored as int8, after the axis of their scales."""


@dataclass(frozen=True, slots=True)
class _Product:
    """A node that multiplies its first input by constant weights, and the axis of these that has a scale an index."""

    node: "ir.Node"
    axis: int | None


def is_quantized(model: Proto) -> bool:
    """Return whether any graph in `model` has Q/DQ nodes already."""
    return any(node.op_type in QUANTIZING for graph in onnx_weights.graphs(model) for node in graph.node)


def holds_int8(model: "ir.Model") -> bool:
    """Return whether a Q/DQ node of `model` has 8-bit integers, or has types that nothing tells."""
    import onnx_ir as ir

    onnx_graph.infer_types(model)
    values = (
        node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        for node in model.graph.all_nodes()
        if node.op_type in QUANTIZING
    )
    return any(value is None or value.dtype in (None, ir.DataType.INT8, ir.DataType.UINT8) for value in values)


def quantize(model: "ir.Model", samples: Path) -> int:
    """Put Q/DQ pairs into the prepared `model` (`graph.prepare`) at opset 13 or higher.

    Args:
        model: a model without Q/DQ nodes.
        samples: a directory of `navigator.samples.storage`: the largest value of a tensor on them is its scale.

    Returns:
        How many nodes now multiply int8 values; nodes in subgraphs are left alone.

    Raises:
        StepError: ONNX Runtime cannot load the model or run it on the samples.
    """
    graph = model.graph
    onnx_graph.infer_types(model)
    products = list(_products(graph))
    factors = [product.node.inputs[0] for product in products]
    reached = onnx_magnitudes.measure(model, samples, values=factors, smallest_of=())
    written = _Writer(graph, onnx_graph.free_suffix(graph, SUFFIX))
    for product, factor in zip(products, factors, strict=True):
        weights = product.node.inputs[1]
        product.node.replace_input_with(0, written.factor(factor, reached[factor].largest, product.node))
        product.node.replace_input_with(1, written.weights(weights, product.axis, product.node))
        if not weights.uses() and not weights.is_graph_output():
            graph.initializers.pop(weights.name, None)
    return len(products)


@dataclass(slots=True)
class _Writer:
    """Puts Q and DQ nodes with their scales before their first reader, once for each tensor."""

    graph: "ir.Graph"
    suffix: str
    made: "dict[tuple[ir.Value, int | None], ir.Value]" = field(default_factory=dict)

    def factor(self, value: "ir.Value", largest: float, reader: "ir.Node") -> "ir.Value":
        """Return `value` rounded to int8."""
        if (value, None) not in self.made:
            scale = self._scale(value.name, _scales(np.array(largest)))
            steps = self._add("QuantizeLinear", [value, *scale], f"{value.name}_quantized", reader)
            made = self._add("DequantizeLinear", [steps, *scale], f"{value.name}_dequantized", reader)
            self.made[value, None] = made
        return self.made[value, None]

    def weights(self, value: "ir.Value", axis: int | None, reader: "ir.Node") -> "ir.Value":
        """Return weights rounded to int8, with a scale for each index of `axis`, or one for all."""
        if (value, axis) not in self.made:
            name = value.name if axis is None else f"{value.name}_{axis}"
            array = onnx_graph.stored(value)
            others = tuple(k for k in range(array.ndim) if k != axis)
            scales = _scales(np.abs(array).max(axis=others, initial=0.0))
            steps = np.rint(array / np.expand_dims(scales, others)).clip(-_STEPS, _STEPS).astype(np.int8)
            stored = onnx_graph.add_initializer(self.graph, f"{name}{STORED}{self.suffix}", steps)
            inputs = [stored, *self._scale(name, scales)]
            along = {} if axis is None else {"axis": axis}
            self.made[value, axis] = self._add("DequantizeLinear", inputs, f"{name}_dequantized", reader, along)
        return self.made[value, axis]

    def _scale(self, name: str, scales: np.ndarray) -> "list[ir.Value]":
        """Store scales and their zero points."""
        zeros = np.zeros(scales.shape, np.int8)
        stored = {f"{name}_scale{self.suffix}": scales, f"{name}_zero{self.suffix}": zeros}
        return [onnx_graph.add_initializer(self.graph, each, values) for each, values in stored.items()]

    def _add(
        self,
        operator: str,
        inputs: "list[ir.Value]",
        name: str,
        reader: "ir.Node",
        attributes: Mapping[str, int] | None = None,
    ) -> "ir.Value":
        import onnx_ir as ir

        output = ir.Value(name=name + self.suffix)
        reader.prepend(ir.node(operator, inputs, attributes, outputs=[output], name=output.name))
        return output


def _products(graph: "ir.Graph") -> "Iterator[_Product]":
    import onnx_ir as ir

    for node in graph:
        if node.op_type not in _OUTPUT_AXES or node.domain != "":
            continue
        factor, weights = node.inputs[:2]
        constant = weights.is_initializer() and weights.dtype == ir.DataType.FLOAT and len(weights.shape) > 1
        if not constant or factor.is_initializer():
            continue
        if node.op_type == "MatMul" and len(weights.shape) > 2:
            # ONNX Runtime's int8 kernel (1.32) takes a scale a column from one matrix only.
            yield _Product(node, None)
        else:
            transposed = node.attributes.get_int("transB", 0)
            yield _Product(node, 0 if transposed else _OUTPUT_AXES[node.op_type])


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
