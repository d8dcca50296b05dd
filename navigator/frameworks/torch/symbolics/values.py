"""What the symbolic functions share: constants, casts, and what the exporter knows of a value."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

# Objects of torch; the types of the package differ between supported versions.
Graph = Any
Value = Any
Dtype = Any
Symbolic = Callable[..., Value]

_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "ReduceMean": 18}


def own_symbolics(opset: int) -> Any:
    """Return the exporter's module for what an opset brought, with its private functions.

    `torch.onnx.symbolic_opset10` has the public ones only, once something imports it by that name.
    """
    try:
        return importlib.import_module(f"torch.onnx._internal.torchscript_exporter.symbolic_opset{opset}")
    except ImportError:  # torch before 2.9
        return importlib.import_module(f"torch.onnx.symbolic_opset{opset}")


def constant(graph: Graph, value: float | Sequence[float], dtype: Dtype = None) -> Value:
    """Return a constant of `value`, of torch's own type for it without `dtype`."""
    import torch

    return graph.op("Constant", value_t=torch.tensor(value, dtype=dtype))


def cast(graph: Graph, value: Value, dtype: Dtype) -> Value:
    """Return the elements of `value` as `dtype`."""
    from torch.onnx import symbolic_helper

    return graph.op("Cast", value, to_i=symbolic_helper._type_utils.JitScalarType.from_dtype(dtype).onnx_type())


def as_float(graph: Graph, value: Value) -> Value:
    """Return `value` as float32 if its elements are whole numbers or bools, else as it is."""
    import torch

    dtype = dtype_of(value)
    return value if dtype is None or dtype.is_floating_point else cast(graph, value, torch.float32)


def reduced(graph: Graph, operator: str, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """Return `operator`, such as ReduceSum, of `value` along `axes`."""
    import torch

    if graph.opset < _AXES_ARE_INPUTS[operator]:
        return graph.op(operator, value, axes_i=list(axes), keepdims_i=int(keep))
    return graph.op(operator, value, constant(graph, list(axes), torch.int64), keepdims_i=int(keep))


def part(graph: Graph, vector: Value, start: int, end: int) -> Value:
    """Return some elements of a vector."""
    from torch.onnx import symbolic_helper

    return symbolic_helper._slice_helper(graph, vector, axes=[0], starts=[start], ends=[end])


def known(value: Value, kind: str) -> Any:
    """Return what a constant is, `kind` being "i", "f" or "b" for a number, "s" for a text and "is" for several.

    Raises:
        torch.onnx.errors.SymbolicValueError: the model computes it.
    """
    from torch.onnx import errors, symbolic_helper

    found = symbolic_helper._maybe_get_const(value, kind)
    if symbolic_helper._is_value(found):
        raise errors.SymbolicValueError("an argument that must be a constant is computed", value)
    return found


def is_computed(value: Value) -> bool:
    """Return whether the model computes one or several whole numbers."""
    from torch.onnx import symbolic_helper

    return bool(symbolic_helper._is_value(symbolic_helper._maybe_get_const(value, "is")))


def known_axes(value: Value) -> list[int]:
    """Return the axes that a constant, a number or several, stands for; see `known`."""
    return [int(axis) for axis in known(value, "t").view(-1)]


def require_opset(graph: Graph, opset: int, operator: str, why: str) -> None:
    """Refuse an operator below an opset, in the words that the exporter has for some kinds of its own.

    Raises:
        torch.onnx.errors.OnnxExporterError: the opset is lower.
    """
    from torch.onnx import symbolic_helper

    if graph.opset < opset:
        symbolic_helper._onnx_opset_unsupported_detailed(operator, graph.opset, opset, why)


def is_none(value: Value) -> bool:
    """Return whether an optional argument is absent."""
    return value is None or bool(value.node().mustBeNone())


def rank_of(value: Value) -> int:
    """Return how many axes `value` has.

    Raises:
        torch.onnx.errors.SymbolicValueError: the exporter doesn't know.
    """
    from torch.onnx import errors, symbolic_helper

    rank = symbolic_helper._get_tensor_rank(value)
    if rank is None:
        raise errors.SymbolicValueError("the rank of a tensor is unknown", value)
    return int(rank)


def dtype_of(value: Value) -> Dtype:
    """Return the torch type of the elements of `value`, None if the exporter doesn't know."""
    from torch.onnx import symbolic_helper

    types = symbolic_helper._type_utils.JitScalarType
    kind = types.from_value(value, types.UNDEFINED)
    return None if kind == types.UNDEFINED else kind.dtype()


def promoted(graph: Graph, *operands: Value) -> Dtype:
    """Return the type that torch computes in from the operands of the node in `graph`, None if one is unknown."""
    import torch
    from torch.onnx import symbolic_helper

    given: list[Any] = []
    for operand, original in zip(operands, graph.original_node.inputs(), strict=True):
        dtype = dtype_of(operand)
        if dtype is None:
            return None
        if original.type().kind() in ("IntType", "FloatType", "NumberType"):
            given.append(1.0 if dtype.is_floating_point else 1)
        else:
            rank = symbolic_helper._get_tensor_rank(operand)
            given.append(torch.empty([1] * (1 if rank is None else rank), dtype=dtype, device="meta"))
    return torch.result_type(*given)


def originals(graph: Graph) -> list[Any]:
    """Return the arguments of torch's node, None where they're computed: the exporter makes float32 of factors."""
    import torch

    found = [each.toIValue() for each in graph.original_node.inputs()]
    return [each.tolist() if isinstance(each, torch.Tensor) else each for each in found]


def element(graph: Graph, size: Value, index: int) -> Value:
    """Return one of several sizes, which are a list or a vector, or the one for all."""
    import torch
    from torch.onnx import symbolic_helper

    if symbolic_helper._is_packed_list(size):
        return cast(graph, symbolic_helper._unpack_list(size)[index], torch.int64)
    whole = cast(graph, size, torch.int64)
    if symbolic_helper._get_tensor_rank(size) == 0:
        return whole
    return graph.op("Gather", whole, constant(graph, index, torch.int64), axis_i=0)
