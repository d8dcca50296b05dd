"""Operators that change shapes: what they return has a known number of axes, which the exporter loses.

It does so where a size is computed, and in loops: "transpose for tensor of unknown rank".
"""

from collections.abc import Callable
from typing import Any

from navigator.frameworks.torch.symbolics.values import Graph, Symbolic, Value, rank_of


def unflatten() -> Symbolic:
    """Return what writes `unflatten`, which each `nn.MultiheadAttention` has."""
    from torch.onnx import symbolic_helper, symbolic_opset13

    def symbolic(graph: Graph, tensor: Value, axis: Value, sizes: Value) -> Value:
        rank = symbolic_helper._get_tensor_rank(tensor)
        output = symbolic_opset13.unflatten(graph, tensor, axis, sizes)
        return output if rank is None else _with_rank(graph, tensor, output, lambda more: rank - 1 + more)

    return symbolic


def reshape() -> Symbolic:
    """Return what writes `view` and `reshape`."""
    from torch.onnx import symbolic_helper

    def symbolic(graph: Graph, tensor: Value, sizes: Value) -> Value:
        output = symbolic_helper._reshape_helper(graph, tensor, sizes, allowzero=0)
        return _with_rank(graph, tensor, output, lambda count: count)

    quantized: Symbolic = symbolic_helper.quantized_args(True)(symbolic)
    return quantized


def _with_rank(graph: Graph, tensor: Value, output: Value, rank: Callable[[int], int]) -> Value:
    """Give `output` its rank, from the number of sizes of torch's node, if the exporter doesn't know it."""
    from torch.onnx import symbolic_helper

    sizes: Any = [*graph.original_node.inputs()][-1]
    known = sizes.toIValue()
    if known is None and sizes.node().kind() == "prim::ListConstruct":
        known = [*sizes.node().inputs()]
    if known is not None and symbolic_helper._get_tensor_rank(output) is None:
        output.setType(tensor.type().with_sizes([None] * rank(len(known))))
    return output


def matrix_transpose(graph: Graph, tensor: Value) -> Value:
    """Swap the last two axes, as `x.mT` does. The exporter doesn't know it."""
    rank = rank_of(tensor)
    return graph.op("Transpose", tensor, perm_i=[*range(rank - 2), rank - 1, rank - 2])
