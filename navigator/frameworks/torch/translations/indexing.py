"""Operators that put elements by their index, or find it."""

from collections.abc import Sequence
from typing import Any

# A value in the graph, or a number.
_Value = Any


def scatter_reduce(
    target: _Value, dim: int, index: _Value, source: _Value, reduce: str, include_self: bool = True
) -> _Value:
    """Divide the sum by the number of values, rounding whole numbers down: onnxscript takes the last for their mean."""
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core

    if reduce != "mean":
        return core.aten_scatter_reduce(target, dim, index, source, reduce, include_self)
    total = core.aten_scatter_reduce(target, dim, index, source, "sum", include_self)

    def ones(like: _Value) -> _Value:
        made = op.Expand(op.CastLike(1, like), op.Shape(like))
        made.dtype, made.shape = like.dtype, like.shape
        return made

    # Where nothing is put, the target's own value is the only one.
    count = core.aten_scatter_reduce(ones(target), dim, index, ones(source), "sum", include_self)
    if target.dtype.is_floating_point():
        return op.Div(total, count)
    return op.Div(op.Sub(total, op.Mod(total, count)), count)


def searchsorted(
    ordered: _Value,
    values: _Value,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: _Value = None,
) -> _Value:
    """Count the boundaries below each value, or those that aren't above it: onnxscript has nothing for it."""
    import onnx_ir
    from onnxscript import opset18 as op

    if sorter is not None:
        raise ValueError("searchsorted with a sorter has no operator in ONNX")
    boundaries, wanted = op.Unsqueeze(ordered, [-2]) if len(ordered.shape) > 1 else ordered, op.Unsqueeze(values, [-1])
    below = op.GreaterOrEqual(wanted, boundaries) if right or side == "right" else op.Greater(wanted, boundaries)
    places = op.ReduceSum(op.Cast(below, to=onnx_ir.DataType.INT64), [-1], keepdims=0)
    return op.Cast(places, to=onnx_ir.DataType.INT32) if out_int32 else places


def index(whole: _Value, indices: Sequence[_Value]) -> _Value:
    """Take elements by indices in int32 too, which ONNX takes in int64 alone."""
    from onnxscript.function_libs.torch_lib.ops import core

    return core.aten_index(whole, _wide(indices))


def index_put(target: _Value, indices: Sequence[_Value], values: _Value, accumulate: bool = False) -> _Value:
    """Put elements by indices in int32 too, which ONNX takes in int64 alone."""
    from onnxscript.function_libs.torch_lib.ops import core

    return core.aten_index_put(target, _wide(indices), values, accumulate)


def _wide(indices: Sequence[_Value]) -> list[_Value]:
    import onnx_ir
    from onnxscript import opset18 as op

    def wide(value: _Value) -> _Value:
        if value is None or value.dtype != onnx_ir.DataType.INT32:
            return value
        made = op.Cast(value, to=onnx_ir.DataType.INT64)
        made.dtype, made.shape = onnx_ir.DataType.INT64, value.shape
        return made

    return [*map(wide, indices)]
