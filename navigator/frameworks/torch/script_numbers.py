"""Python numbers in a TorchScript graph, as torch's TorchScript exporter needs them (2.13).

The exporter takes every number for a tensor and drops what converts one: `int(2.5)` stays 2.5, and `not len(x)` becomes
a Not of a whole number, which ONNX lacks. Here, such nodes become casts of tensors, which it writes.

Remove it once `int(x.shape[0] / 2)` and `not len(x)` of a scripted module are exported right without it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

# Objects of torch; the types of the package differ between supported versions.
_Graph = Any
_Node = Any
_Value = Any

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


def convert_numbers(graph: _Graph) -> None:
    """Write the conversions of numbers in an inlined graph as casts."""
    for node in [*_nodes(graph)]:
        kind, inputs, outputs = node.kind(), list(node.inputs()), list(node.outputs())
        if not inputs or not outputs:
            continue
        first, made = inputs[0], _NUMBERS.get(outputs[0].type().kind())
        if kind in _MADE_OF:
            _replace(graph, node, _cast(graph, node, first, _MADE_OF[kind]), _MADE_OF[kind])
        elif kind == "prim::abs" and made:
            absolute = _insert(graph, node, "aten::abs", [_as_tensor(graph, node, first)])
            _replace(graph, node, absolute, made)
        elif kind in _ROUNDED and made == _INT:
            rounded = _insert(graph, node, kind, [_cast(graph, node, first, _FLOAT)])
            _replace(graph, node, _cast(graph, node, rounded, _INT), _INT)
        elif kind in _OF_FLOATS and made == _FLOAT and first.type().kind() == "IntType":
            _replace(graph, node, _insert(graph, node, kind, [_cast(graph, node, first, _FLOAT)]), _FLOAT)


def _nodes(block: Any) -> Iterator[_Node]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _cast(graph: _Graph, before: _Node, value: _Value, to: str) -> _Value:
    """Return a value as a tensor of a type."""
    tensor = _as_tensor(graph, before, value)
    no = _constant(graph, before, False)
    given = [tensor, _constant(graph, before, _DTYPES[to]), no, no, _constant(graph, before, None)]
    return _insert(graph, before, "aten::to", given)


def _as_tensor(graph: _Graph, before: _Node, value: _Value) -> _Value:
    if value.type().isSubtypeOf(_tensor_type()):
        return value
    return _insert(graph, before, "prim::NumToTensor", [value])


def _insert(graph: _Graph, before: _Node, kind: str, inputs: Sequence[_Value]) -> _Value:
    node = graph.create(kind, list(inputs), 1)
    node.insertBefore(before)
    return node.output()


def _constant(graph: _Graph, before: _Node, value: Any) -> _Value:
    with graph.insert_point_guard(before):
        return graph.insertConstant(value)


def _replace(graph: _Graph, node: _Node, tensor: _Value, number: str) -> None:
    """Replace the number that a node makes by one that is read from a tensor."""
    read = graph.create({_INT: "aten::Int", _FLOAT: "aten::Float", _BOOL: "aten::Bool"}[number], [tensor], 1)
    read.insertBefore(node)
    read.output().setType(node.output().type())
    node.output().replaceAllUsesWith(read.output())
    node.destroy()


def _tensor_type() -> Any:
    import torch

    return torch._C.TensorType.get()
