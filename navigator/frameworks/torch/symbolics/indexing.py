"""Operators that put or look up elements by their index."""

import math
from typing import Any

from navigator.frameworks.opsets import ADDS
from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Value,
    cast,
    constant,
    dtype_of,
    is_none,
    known,
    rank_of,
    reduced,
    require_opset,
)

_SUMS_ADVICE = f"set onnx_opsets: [{ADDS}] or higher"

# What adds, in ONNX as ScatterND and ScatterElements.
ADDING = ("index_put", "index_put_", "scatter_add", "scatter_add_", "index_add", "index_add_")
_ACCUMULATE = 3


def lost_sums(module: Any, opset: int) -> tuple[str, ...]:
    """Return a sentence for each operator of a TorchScript module that ONNX doesn't add up at `opset`."""
    if opset >= ADDS:
        return ()
    graph = module.inlined_graph  # made anew for each access, and gone with its nodes
    return tuple(
        f"{name.removesuffix('_')} at opset {opset}: of several values for one place, ONNX keeps one instead of their "
        f"sum; {_SUMS_ADVICE}"
        for name in ADDING
        if any(map(_adds, graph.findAllNodes(f"aten::{name}")))
    )


def _adds(node: Any) -> bool:
    inputs = list(node.inputs())
    return "index_put" not in node.kind() or (len(inputs) > _ACCUMULATE and inputs[_ACCUMULATE].toIValue() is not False)


def index_put(graph: Graph, target: Value, indices: Value, values: Value, accumulate: Value = None) -> Value:
    """Add up the values for one place, with `accumulate`. The exporter adds the last, and none where a mask is true.

    ONNX takes indices in int64 alone.
    """
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset11

    dtype = dtype_of(target)
    adds = accumulate is not None and known(accumulate, "b")
    places = symbolic_helper._unpack_list(indices) if symbolic_helper._is_packed_list(indices) else [indices]
    places = [cast(graph, each, torch.int64) if dtype_of(each) is torch.int32 else each for each in places]
    indices = graph.op("prim::ListConstruct", *places)
    masked = len(places) == 1 and symbolic_helper._is_bool(places[0])  # no place comes twice
    if not adds or dtype is None or (graph.opset < ADDS and not masked):
        return symbolic_opset11.index_put(graph, target, indices, values, accumulate)
    zeros = graph.op("Expand", constant(graph, 0, dtype), graph.op("Shape", target))
    zeros.setType(target.type())
    put = symbolic_opset11.index_put(graph, zeros, indices, values, False)
    if put.node().kind() == "onnx::ScatterND" and not masked:
        put.node().s_("reduction", "add")
    return graph.op("Add", target, put)


def index_add(graph: Graph, target: Value, dim: Value, index: Value, source: Value, alpha: Value = None) -> Value:
    """Add up the values for one place. The exporter keeps one of them, at every opset."""
    from torch.onnx import symbolic_helper, symbolic_opset9

    if graph.opset < ADDS:
        return symbolic_opset9.index_add(graph, target, dim, index, source, alpha)
    axis, rank = known(dim, "i"), rank_of(source)
    if alpha is not None and known(alpha, "f") != 1:
        source = graph.op("Mul", source, constant(graph, known(alpha, "f"), dtype_of(source)))
    others = [each for each in range(rank) if each != axis % rank]
    places = symbolic_helper._unsqueeze_helper(graph, index, others) if others else index
    places = graph.op("Expand", places, graph.op("Shape", source))
    return graph.op("ScatterElements", target, places, source, axis_i=axis, reduction_s="add")


def scatter_reduce(
    graph: Graph, target: Value, dim: Value, index: Value, source: Value, reduce: Value, include_self: Value
) -> Value:
    """Take as much of the source as there are places. The exporter takes all, and refuses means and `include_self`."""
    import torch
    from torch.onnx import errors

    rank, kind, dtype = rank_of(target), known(reduce, "s"), dtype_of(target)
    if not rank or dtype is None:
        raise errors.SymbolicValueError("scatter_reduce of a scalar, or of elements of an unknown type", target)
    if kind in ("amax", "amin"):
        require_opset(graph, 18, "aten::scatter_reduce", "ONNX has no maximum or minimum of scattered values")
    axis, shape = known(dim, "i") % rank, graph.op("Shape", index)
    source = graph.op("Slice", source, constant(graph, [0] * rank, torch.int64), shape)

    def scattered(base: Value, values: Value, reduction: str = "none") -> Value:
        return graph.op("ScatterElements", base, index, values, axis_i=axis, reduction_s=reduction)

    def filled(value: float, like: Value) -> Value:
        return graph.op("Expand", constant(graph, value, dtype), like)

    def without_own(base: Value, neutral: float) -> Value:
        return base if known(include_self, "b") else scattered(base, filled(neutral, shape))

    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    lowest, highest = (-math.inf, math.inf) if dtype.is_floating_point else (limits.min, limits.max)
    reduction, neutral = {
        "sum": ("add", 0),
        "mean": ("add", 0),
        "prod": ("mul", 1),
        "amax": ("max", lowest),
        "amin": ("min", highest),
    }[kind]
    found = scattered(without_own(target, neutral), source, reduction)
    if kind != "mean":
        return found
    ones = filled(1, graph.op("Shape", target))
    count = scattered(without_own(ones, 0), filled(1, shape), "add")
    if not dtype.is_floating_point:
        found = graph.op("Sub", found, graph.op("Mod", found, count))
    return graph.op("Div", found, count)


def embedding_bag(graph: Graph, weight: Value, indices: Value, offsets: Value, *arguments: Value) -> Any:
    """Leave out what `padding_idx` says, which the exporter refuses, and ignores if it's counted from the end.

    A weight of 0 leaves it out of a sum. A mean is such a sum, divided by the number of what is left.
    """
    from torch.onnx import errors, symbolic_helper, symbolic_opset11

    frequency, mode, sparse, factors, includes_last, padding = arguments
    own = symbolic_opset11.embedding_bag
    if is_none(padding):
        return own(graph, weight, indices, offsets, *arguments)
    rows, dtype = symbolic_helper._get_tensor_dim_size(weight, 0), dtype_of(weight)
    chosen = ("sum", "mean", "max")[known(mode, "i")]
    if rows is None or dtype is None or chosen == "max":
        raise errors.SymbolicValueError("embedding_bag with padding_idx has no operator in ONNX", weight)
    left = graph.op("Not", graph.op("Equal", indices, constant(graph, known(padding, "i") % rows, dtype_of(indices))))
    shown = cast(graph, left, dtype)

    def total(values: Value, several: Value) -> Any:
        return own(graph, values, indices, offsets, frequency, constant(graph, 0), sparse, several, includes_last, None)

    found, *others = total(weight, shown if is_none(factors) else graph.op("Mul", shown, factors))
    if chosen == "mean":
        ones = graph.op("Expand", constant(graph, [1.0], dtype), constant(graph, [rows, 1]))
        count = graph.op("Max", total(ones, shown)[0], constant(graph, 1.0, dtype))
        found = graph.op("Div", found, count)
    return found, *others


def searchsorted(
    graph: Graph, ordered: Value, values: Value, whole: Value, right: Value, side: Value = None, sorter: Value = None
) -> Value:
    """Count the boundaries below each value, or those that aren't above it. The exporter has nothing for it."""
    import torch
    from torch.onnx import errors, symbolic_helper

    if not is_none(sorter):
        raise errors.SymbolicValueError("searchsorted with a sorter has no operator in ONNX", ordered)
    from_right = known(right, "b") or (not is_none(side) and known(side, "s") == "right")
    rank = rank_of(ordered)
    boundaries = symbolic_helper._unsqueeze_helper(graph, ordered, [rank - 1])
    wanted = symbolic_helper._unsqueeze_helper(graph, values, [rank_of(values)])
    below = (
        graph.op("Not", graph.op("Less", wanted, boundaries)) if from_right else graph.op("Less", boundaries, wanted)
    )
    places = reduced(graph, "ReduceSum", cast(graph, below, torch.int64), [-1], keep=False)
    return cast(graph, places, torch.int32) if known(whole, "b") else places


def unfold(graph: Graph, value: Value, axis: Value, size: Value, step: Value) -> Value:
    """Take windows of an axis of any size; the exporter wants to know it."""
    import torch

    rank = rank_of(value)
    place, length = known(axis, "i") % rank, known(size, "i")
    whole = graph.op("Gather", graph.op("Shape", value), constant(graph, place, torch.int64), axis_i=0)
    last = graph.op("Sub", whole, constant(graph, length - 1, torch.int64))
    starts = graph.op("Range", constant(graph, 0, torch.int64), last, constant(graph, known(step, "i"), torch.int64))
    rows = graph.op("Reshape", starts, constant(graph, [-1, 1], torch.int64))
    windows = graph.op("Add", rows, constant(graph, [*range(length)], torch.int64))
    taken = graph.op("Gather", value, windows, axis_i=place)
    order = [each for each in range(rank + 1) if each != place + 1]
    return graph.op("Transpose", taken, perm_i=[*order, place + 1])
