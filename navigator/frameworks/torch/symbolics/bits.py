"""Operators on the bits of whole numbers, which are logical ones for bools."""

from collections.abc import Mapping

from navigator.frameworks.torch.symbolics.values import (
    Dtype,
    Graph,
    Symbolic,
    Value,
    cast,
    dtype_of,
    promoted,
    require_opset,
)

_BITS = 18


def symbolics() -> Mapping[str, Symbolic]:
    """Return what writes each of them. The exporter has none but `and` for whole numbers, and no `bitwise_and` below.

    A name that ends with "__" is taken for that of an operation in place, and loses a "_".
    """
    return {
        "aten::bitwise_not": _not,
        **{
            name: _binary(name, logical, whole)
            for kind, logical, whole in (
                ("and", "And", "BitwiseAnd"),
                ("or", "Or", "BitwiseOr"),
                ("xor", "Xor", "BitwiseXor"),
            )
            for name in (f"aten::bitwise_{kind}", f"aten::__{kind}_")
        },
    }


def _not(graph: Graph, value: Value) -> Value:
    return graph.op("Not" if _are_bools(graph, dtype_of(value), "aten::bitwise_not") else "BitwiseNot", value)


def _binary(name: str, logical: str, whole: str) -> Symbolic:
    def symbolic(graph: Graph, one: Value, other: Value) -> Value:
        dtype = promoted(graph, one, other)
        operator = logical if _are_bools(graph, dtype, name) else whole
        return graph.op(
            operator, *(each if dtype_of(each) is dtype else cast(graph, each, dtype) for each in (one, other))
        )

    return symbolic


def _are_bools(graph: Graph, dtype: Dtype, operator: str) -> bool:
    """Return whether these are bools; refuse whole numbers below the opset that has operators on their bits."""
    import torch
    from torch.onnx import errors

    if dtype is None:
        raise errors.OnnxExporterError(f"the type of the elements that {operator} takes is unknown")
    if dtype is not torch.bool:
        require_opset(graph, _BITS, operator, "ONNX has no bits of whole numbers")
    return dtype is torch.bool
