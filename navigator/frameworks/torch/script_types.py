"""The ranks and types of tensors in a TorchScript graph, also those of which torch's own pass says nothing (2.13).

Sizes stay unknown: those of an example would be taken for constants.
"""

import contextlib
from typing import Any

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, nodes

# What returns the type and the rank of its first tensor, and the type only. Of the last, torch's pass finds the rank.
_LIKE = frozenset({
    *("transpose", "permute", "contiguous", "triu", "tril", "masked_fill", "masked_fill_", "clone", "detach", "slice"),
    *("linear", "layer_norm", "batch_norm", "dropout", "relu", "relu_", "gelu", "silu", "tanh", "sigmoid"),
    "scaled_dot_product_attention",
})  # fmt: skip
_OF_TYPE = frozenset({
    *("reshape", "view", "unsqueeze", "squeeze", "expand", "select", "flatten", "unflatten", "embedding", "matmul"),
    *("bmm", "conv1d", "conv2d"),
})  # fmt: skip
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"})
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "logical_not", "logical_and", "logical_or"})
# What makes a tensor of the type that the argument in this place is, of sizes or of those of another tensor.
_MAKE = {"zeros": 1, "ones": 1, "full": 2, "zeros_like": 1, "ones_like": 1}


def tell_types(graph: Graph) -> None:
    """Tell the ranks and types of all tensors that are known."""
    import torch

    with contextlib.suppress(RuntimeError):  # of what torch has no rule for
        torch._C._jit_pass_propagate_shapes_on_graph(graph)
    for node in nodes(graph):
        kind = node.kind().removeprefix("aten::")
        if kind == "prim::If":
            _tell_branches(node)
        elif kind == "prim::unchecked_cast" and is_tensor(node.inputsAt(0)):
            node.output().setType(node.inputsAt(0).type())
        elif node.outputsSize() == 1 and is_tensor(node.output()):
            _tell(node.output(), kind, list(node.inputs()))


def forget_sizes(value: Value) -> None:
    """Keep only the rank and the type of a tensor."""
    kind = value.type()
    if is_tensor(value) and kind.dim() is not None:
        value.setType(kind.with_sizes([None] * kind.dim()))


def is_tensor(value: Value) -> bool:
    """Return whether a value is a tensor in any case."""
    return bool(value.type().kind() == "TensorType")


def _tell(output: Value, kind: str, inputs: list[Value]) -> None:
    first = inputs[0] if inputs else None
    rank, dtype = output.type().dim(), None
    if kind in _MAKE and first is not None:
        rank, dtype = _rank(first), _made(inputs[_MAKE[kind]], first)
    elif first is None or not is_tensor(first):
        return
    elif kind in _LIKE or (kind == "softmax" and inputs[-1].type().kind() == "NoneType"):
        rank, dtype = first.type().dim(), first.type().dtype()
    elif kind in _OF_TYPE:
        rank = rank if rank is not None or kind not in ("reshape", "view") else _rank(inputs[1])
        dtype = first.type().dtype()
    elif kind in _ARITHMETIC or kind in _COMPARISONS:
        rank, dtype = _combined(kind, [each for each in inputs if is_tensor(each)])
    if dtype is not None:
        _set(output, output.type().dim() if rank is None else rank, dtype)


def _rank(value: Value) -> int | None:
    """Return the rank of a tensor, or how many numbers a list has."""
    if is_tensor(value):
        return value.type().dim()  # type: ignore[no-any-return] # torch is untyped here
    node = value.node()
    return node.inputsSize() if node.kind() == "prim::ListConstruct" else None


def _made(dtype: Value, like: Value) -> Any:
    """Return the type of a new tensor, None if it isn't known."""
    import torch
    from torch.onnx import symbolic_helper

    if dtype.type().kind() == "NoneType":
        return like.type().dtype() if is_tensor(like) else torch.float32
    number = dtype.toIValue()
    return symbolic_helper._type_utils.JitScalarType(number).dtype() if isinstance(number, int) else None


def _combined(kind: str, operands: list[Value]) -> tuple[int | None, Any]:
    """Return the rank and the type of what is computed from tensors element by element, and numbers."""
    import torch

    ranks, dtypes = [each.type().dim() for each in operands], {each.type().dtype() for each in operands}
    rank = None if None in ranks else max(ranks)
    if kind in _COMPARISONS:
        return rank, torch.bool
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return rank, dtype if dtype is not None and dtype.is_floating_point else None


def _tell_branches(node: Node) -> None:
    """Give the outputs of a condition what both branches agree on: none is optional, if both are tensors."""
    for output, *returned in zip(node.outputs(), *(block.outputs() for block in node.blocks()), strict=True):
        if not all(is_tensor(each) for each in returned):
            continue
        told = {(each.type().dim(), each.type().dtype()) for each in returned}
        if output.type().kind() == "OptionalType":
            output.setType(output.type().getElementType())
        rank, dtype = told.pop()
        if not told and dtype is not None:
            _set(output, rank, dtype)


def _set(value: Value, rank: int | None, dtype: Any) -> None:
    import torch

    if (value.type().dim(), value.type().dtype()) != (rank, dtype):
        kind = torch._C.TensorType.get().with_dtype(dtype)
        value.setType(kind if rank is None else kind.with_sizes([None] * rank))
