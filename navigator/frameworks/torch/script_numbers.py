"""Python numbers in a TorchScript graph, as torch's TorchScript exporter needs them (2.13).

The exporter takes every number for a tensor and drops what converts one: `int(2.5)` stays 2.5, and `not len(x)` becomes
a Not of a whole number, which ONNX lacks. Here, such nodes become casts of tensors, which it writes.

Remove it once `int(x.shape[0] / 2)` and `not len(x)` of a scripted module are exported right without it.
"""

from typing import Any

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, insert, nodes

_INT, _FLOAT, _BOOL = "int", "float", "bool"
_MADE_OF = {"aten::Int": _INT, "aten::IntImplicit": _INT, "aten::Float": _FLOAT, "aten::Bool": _BOOL}
_ROUNDED = frozenset({"aten::floor", "aten::ceil"})
_OF_FLOATS = frozenset({
    *("aten::sqrt", "aten::exp", "aten::log", "aten::log2", "aten::log10", "aten::log1p", "aten::sin", "aten::cos"),
    *("aten::tan", "aten::tanh", "aten::asin", "aten::acos", "aten::atan"),
})  # fmt: skip
# int64, float32 and bool as TorchScript writes them: a float never makes a tensor of float32 one of float64.
_DTYPES = {_INT: 4, _FLOAT: 6, _BOOL: 11}
_NUMBERS = {"IntType": _INT, "FloatType": _FLOAT, "BoolType": _BOOL}


def convert_numbers(graph: Graph) -> None:
    """Write the conversions of numbers in an inlined graph as casts."""
    for node in [*nodes(graph)]:
        kind, inputs, outputs = node.kind(), list(node.inputs()), list(node.outputs())
        if not inputs or not outputs:
            continue
        first, made = inputs[0], _NUMBERS.get(outputs[0].type().kind())
        if kind in _MADE_OF:
            _replace(graph, node, _cast(graph, node, first, _MADE_OF[kind]), _MADE_OF[kind])
        elif kind == "prim::abs" and made:
            absolute = insert(graph, node, "aten::abs", [_as_tensor(graph, node, first)])
            _replace(graph, node, absolute, made)
        elif kind in _ROUNDED and made == _INT:
            rounded = insert(graph, node, kind, [_cast(graph, node, first, _FLOAT)])
            _replace(graph, node, _cast(graph, node, rounded, _INT), _INT)
        elif kind in _OF_FLOATS and made == _FLOAT and first.type().kind() == "IntType":
            _replace(graph, node, insert(graph, node, kind, [_cast(graph, node, first, _FLOAT)]), _FLOAT)


def _cast(graph: Graph, before: Node, value: Value, to: str) -> Value:
    """Return a value as a tensor of a type."""
    tensor = _as_tensor(graph, before, value)
    no = constant(graph, before, False)
    given = [tensor, constant(graph, before, _DTYPES[to]), no, no, constant(graph, before, None)]
    return insert(graph, before, "aten::to", given)


def _as_tensor(graph: Graph, before: Node, value: Value) -> Value:
    if value.type().isSubtypeOf(_tensor_type()):
        return value
    return insert(graph, before, "prim::NumToTensor", [value])


def _replace(graph: Graph, node: Node, tensor: Value, number: str) -> None:
    """Replace the number that a node makes by one that is read from a tensor."""
    kind = {_INT: "aten::Int", _FLOAT: "aten::Float", _BOOL: "aten::Bool"}[number]
    node.output().replaceAllUsesWith(insert(graph, node, kind, [tensor], node.output().type()))
    node.destroy()


def _tensor_type() -> Any:
    import torch

    return torch._C.TensorType.get()
