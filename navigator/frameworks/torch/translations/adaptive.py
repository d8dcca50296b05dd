"""Pooling to a number of windows, whatever the size of the image."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

# A value in the graph, or a number.
_Value = Any


def average_pool(axes: int) -> Callable[..., _Value]:
    """Return what writes `adaptive_avg_pool2d` and the like.

    Torch takes it apart for the size of its example: other sizes have windows of another size. Where only the model
    knows the size, or windows overlap, each is cut out here.
    """

    def translation(image: _Value, output_size: Sequence[_Value]) -> _Value:
        from onnxscript import opset18 as op

        rank = len(image.shape)
        lengths = image.shape[rank - axes :]
        counts = [length if count is None else count for length, count in zip(lengths, output_size, strict=True)]
        if counts == [1] * axes:
            return op.ReduceMean(image, [*range(rank - axes, rank)], keepdims=1)
        known = all(isinstance(each, int) for each in (*lengths, *counts))
        if known and rank == axes + 2 and not any(map(operator.mod, lengths, counts)):
            sizes = [length // count for length, count in zip(lengths, counts, strict=True)]
            return op.AveragePool(image, kernel_shape=sizes, strides=sizes)
        for axis, (length, count) in enumerate(zip(lengths, counts, strict=True), rank - axes):
            if count is not length:
                image = (_pooled if isinstance(count, int) else _pooled_to)(image, rank, axis, count)
        return image

    return translation


def _pooled(image: _Value, _rank: int, axis: int, count: int) -> _Value:
    """Return the means of windows along one axis."""
    from onnxscript import opset18 as op

    size = op.Shape(image, start=axis, end=axis + 1)
    found = []
    for index in range(count):
        start = op.Div(op.Mul(size, [index]), [count])
        end = op.Div(op.Add(op.Mul(size, [index + 1]), [count - 1]), [count])
        found.append(op.ReduceMean(op.Slice(image, start, end, [axis]), [axis], keepdims=1))
    return found[0] if count == 1 else op.Concat(*found, axis=axis)


def _pooled_to(image: _Value, rank: int, axis: int, count: _Value) -> _Value:
    """Return the means of as many windows along one axis as the model computes: products with their shares."""
    import onnx_ir
    from onnxscript import opset18 as op

    whole = onnx_ir.DataType.INT64
    size = op.Squeeze(op.Shape(image, start=axis, end=axis + 1))
    count = op.Squeeze(op.Reshape(op.Cast(count, to=whole), [-1]))
    windows, places = (op.Range(0, each, 1) for each in (count, size))
    start = op.Div(op.Mul(windows, size), count)
    end = op.Div(op.Add(op.Mul(op.Add(windows, 1), size), op.Sub(count, 1)), count)
    column = op.Unsqueeze(places, [1])
    inside = op.And(op.GreaterOrEqual(column, start), op.Less(column, end))
    shares = op.Div(op.CastLike(inside, image), op.CastLike(op.Sub(end, start), image))
    last = [each for each in range(rank) if each != axis] + [axis]
    pooled = op.MatMul(op.Transpose(image, perm=last), shares)
    return op.Transpose(pooled, perm=[last.index(each) for each in range(rank)])
