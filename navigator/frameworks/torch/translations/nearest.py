"""Resizes to the nearest pixels: those that torch takes (see `navigator.frameworks.torch.nearest`)."""

from collections.abc import Sequence
from typing import Any

from navigator.frameworks.torch.nearest import is_same

# A value in the graph, or a number.
_Value = Any


def upsample_vec(image: _Value, output_size: Sequence[_Value] | None, scale_factors: Sequence[float] | None) -> _Value:
    """Write an operator that has sizes or factors."""
    from onnxscript.function_libs.torch_lib.ops import nn

    taken = _taken(image, output_size, scale_factors)
    return nn.aten_upsample_nearestnd_vec(image, output_size, scale_factors) if taken is None else taken


def upsample1d(image: _Value, output_size: Sequence[_Value], scales: float | None = None) -> _Value:
    """Write an operator with sizes, which come from factors where those are given."""
    return _upsample(image, output_size, [scales])


def upsample2d(
    image: _Value, output_size: Sequence[_Value], scales_h: float | None = None, scales_w: float | None = None
) -> _Value:
    """See `upsample1d`."""
    return _upsample(image, output_size, [scales_h, scales_w])


def upsample3d(
    image: _Value,
    output_size: Sequence[_Value],
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> _Value:
    """See `upsample1d`."""
    return _upsample(image, output_size, [scales_d, scales_h, scales_w])


def _upsample(image: _Value, sizes: Sequence[_Value], scales: Sequence[float | None]) -> _Value:
    factors = [each for each in scales if each is not None]
    is_complete = len(factors) == len(scales)
    return upsample_vec(image, None if is_complete else sizes, factors if is_complete else None)


def _taken(image: _Value, sizes: Sequence[_Value] | None, factors: Sequence[float] | None) -> _Value | None:
    """Return the pixels that torch takes, None if a Resize takes the same."""
    owns = [size if isinstance(size, int) else None for size in image.shape[2:]]
    none = [None] * len(owns)
    known = [size if isinstance(size, int) else None for size in sizes or none]
    if all(map(is_same, owns, known, factors or none)):
        return None
    for axis, (size, factor) in enumerate(zip(sizes or none, factors or none, strict=True), 2):
        image = _along(image, axis, size, factor)
    return image


def _along(image: _Value, axis: int, size: _Value | None, factor: float | None) -> _Value:
    """Return the pixels along one axis."""
    import numpy as np
    import onnx_ir
    from onnxscript import opset18 as op

    whole, single, double = onnx_ir.DataType.INT64, onnx_ir.DataType.FLOAT, onnx_ir.DataType.DOUBLE
    own = op.Squeeze(op.Shape(image, start=axis, end=axis + 1), [0])
    length = op.Cast(own, to=single)
    if factor is None:
        count = op.Squeeze(op.Reshape(op.Cast(size, to=whole), [-1]), [0])
        reciprocal = op.Div(length, op.Cast(count, to=single))
    else:
        exact = op.Constant(value=onnx_ir.tensor(np.float64(factor)))
        count = op.Cast(op.Floor(op.Mul(op.Cast(own, to=double), exact)), to=whole)
        reciprocal = op.Constant(value=onnx_ir.tensor(np.float32(1 / factor)))
    places = op.Cast(op.Range(0, count, 1), to=single)
    places = op.Min(op.Floor(op.Mul(places, reciprocal)), op.Sub(length, 1.0))
    return op.Gather(image, op.Cast(places, to=whole), axis=axis)
