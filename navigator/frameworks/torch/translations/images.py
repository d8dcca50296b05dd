"""Operators of images and of batches: resizes, pooling, normalization, attention."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from navigator.frameworks.torch.factors import is_exact, no_less

# A value in the graph, or a number.
_Value = Any
_Translation = Callable[..., _Value]


def average_pool(axes: int) -> _Translation:
    """Divide by `divisor_override`, which onnxscript ignores."""

    def each(sizes: int | Sequence[int]) -> list[int]:
        several = [sizes] if isinstance(sizes, int) else list(sizes)
        return several * axes if len(several) == 1 else several

    def translation(
        image: _Value,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> _Value:
        from onnxscript import opset18 as op

        if divisor_override and ceil_mode:
            raise ValueError("avg_pool with divisor_override and ceil_mode has no operator in ONNX")
        pooled = op.AveragePool(
            image,
            ceil_mode=int(ceil_mode),
            count_include_pad=1 if divisor_override else int(count_include_pad),
            kernel_shape=each(kernel),
            pads=each(padding) * 2,
            strides=each(stride or kernel),
        )
        return op.Mul(pooled, math.prod(each(kernel)) / divisor_override) if divisor_override else pooled

    return translation


def upsample(mode: str) -> _Translation:
    """Return the translation of an operator that has sizes; torch reads its scales for their gradients."""

    def translation(
        image: _Value,
        output_size: Sequence[_Value],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> _Value:
        del scales_h, scales_w
        return _resized(image, output_size, align_corners, None, mode)

    return translation


def upsample_vec(mode: str) -> _Translation:
    """Return the translation of an operator that has sizes or scales."""

    def translation(
        image: _Value, output_size: Sequence[_Value] | None, align_corners: bool, scale_factors: Sequence[float] | None
    ) -> _Value:
        return _resized(image, output_size, align_corners, scale_factors, mode)

    return translation


def _resized(
    image: _Value,
    output_size: Sequence[_Value] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None,
    mode: str,
) -> _Value:
    """Resize uint8 images as torch does: the width first, then the height, each rounded to whole numbers.

    ONNX Runtime's Resize cuts uint8 off, and takes none with mode cubic. What is left is at most one off, in up to 3 %
    of the pixels: torch rounds its weights to 14 bits. Where sizes are products that float32 may round up to a whole
    number, as that of 100 and 0.57, torch's have a pixel less.
    """
    import onnx_ir
    from onnxscript import opset18 as op

    if scale_factors is not None and align_corners:  # which leaves the factors nothing to say but the sizes
        output_size = [_torchs_size(image, axis, factor) for axis, factor in enumerate(scale_factors, 2)]
        scale_factors = None

    lengths = [length if isinstance(length, int) else None for length in image.shape[2:]]

    def resized(pixels: _Value, given: Sequence[_Value]) -> _Value:
        factors = sizes = None
        if scale_factors is None:
            ends = [op.Reshape(op.Cast(size, to=onnx_ir.DataType.INT64), [-1]) for size in given]
            sizes = op.Concat(op.Shape(pixels, start=0, end=2), *ends, axis=0)
        else:
            factors = op.Constant(value_floats=[1.0, 1.0, *map(no_less, lengths, given)])
        found = op.Resize(
            pixels,
            None,
            factors,
            sizes,
            mode=mode,
            coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
            cubic_coeff_a=-0.75,
            nearest_mode="floor",
        )
        if factors is None:
            return found
        for axis, (length, factor) in enumerate(zip(lengths, given, strict=True), 2):
            if not is_exact(length, factor):
                found = op.Slice(found, [0], _torchs_size(image, axis, factor), [axis])
        return found

    given = output_size if scale_factors is None else scale_factors
    assert given is not None
    if image.dtype is not onnx_ir.DataType.UINT8:
        return resized(image, given)
    height, width = given
    pixels = op.Cast(image, to=onnx_ir.DataType.FLOAT)
    own_height = op.Shape(image, start=2, end=3) if scale_factors is None else 1.0
    own_width = width if scale_factors is None else 1.0
    for size in ((own_height, width), (height, own_width)):
        pixels = op.Clip(op.Floor(op.Add(resized(pixels, size), 0.5)), 0.0, 255.0)
    return op.Cast(pixels, to=onnx_ir.DataType.UINT8)


def _torchs_size(image: _Value, axis: int, factor: float) -> _Value:
    """Return the size that torch makes of an axis, which it computes in double precision."""
    import onnx_ir
    from onnxscript import opset18 as op

    own = op.Cast(op.Shape(image, start=axis, end=axis + 1), to=onnx_ir.DataType.DOUBLE)
    exact = op.Constant(value=onnx_ir.tensor(np.float64(factor)))
    return op.Cast(op.Floor(op.Mul(own, exact)), to=onnx_ir.DataType.INT64)


def antialiased(mode: str) -> _Translation:
    """Resize by the factors that torch is given; onnxscript takes the quotients of the sizes.

    Refuse align_corners, with which ONNX Runtime's (1.32) antialiased Resize takes other pixels than torch.
    """

    def translation(
        image: _Value,
        output_size: Sequence[_Value],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> _Value:
        from onnxscript.function_libs.torch_lib.ops import nn

        if align_corners:
            raise ValueError("interpolate with antialias and align_corners has no right operator in ONNX Runtime")
        attributes = {"mode": mode, "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5}
        attributes["coordinate_transformation_mode"] = "half_pixel"
        if scales_h is None or scales_w is None:
            return nn._aten_upsample_output_size(image, output_size, **attributes)
        factors = (scales_h, scales_w)
        known = [each for each in zip(image.shape[2:], output_size, factors, strict=True) if isinstance(each[0], int)]
        if any(isinstance(size, int) and math.floor(own * factor) != size for own, size, factor in known):
            raise ValueError("interpolate with antialias has no operator in ONNX for a size and other factors")
        return nn._aten_upsample_scales(image, factors, **attributes)

    return translation


def batch_norm(
    image: _Value,
    weight: _Value = None,
    bias: _Value = None,
    mean: _Value = None,
    variance: _Value = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> _Value:
    """Normalize by the batch's own mean and variance in training mode: onnxscript takes the running ones."""
    from onnxscript.function_libs.torch_lib.ops import core

    own = (None, None) if training else (mean, variance)
    return core.aten__native_batch_norm_legit_functional(image, weight, bias, *own, training, momentum, eps)


def attention(
    query: _Value,
    key: _Value,
    value: _Value,
    attn_mask: _Value = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> _Value:
    """Return zeros for a row whose mask hides all, where onnxscript returns the mean of the values.

    It also refuses tensors with more than four axes, and those without a batch, or without heads: these get such axes
    here, in front as torch adds them.
    For opset 23 and higher, torch writes ONNX's Attention, which ONNX Runtime (1.32) doesn't run if one mask is for all
    rows or heads. This writes operators of opset 18 for all.
    """
    import onnx_ir
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import nn

    added = [*range(4 - len(query.shape))]
    if added:
        query, key, value = (_with_axes(each, added) for each in (query, key, value))
        return op.Squeeze(attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa), added)
    if len(query.shape) > 4 and not enable_gqa:
        attended = _attended(query, key, value, attn_mask, is_causal, scale)
    else:
        attended = nn.aten_scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
        )
    if attn_mask is None:
        return attended
    shown = attn_mask
    if attn_mask.dtype is not onnx_ir.DataType.BOOL:
        # Below opset 20, IsInf takes no float16.
        shown = op.Not(op.IsInf(op.Cast(attn_mask, to=onnx_ir.DataType.FLOAT), detect_positive=0))
    visible = op.ReduceMax(op.Cast(shown, to=onnx_ir.DataType.INT32), [-1], keepdims=1)
    return op.Where(op.Cast(visible, to=onnx_ir.DataType.BOOL), attended, op.CastLike(0.0, attended))


def _attended(query: _Value, key: _Value, value: _Value, mask: _Value, is_causal: bool, scale: float | None) -> _Value:
    """Return the attention of tensors with any number of axes."""
    import onnx_ir
    from onnxscript import opset18 as op

    rank = len(query.shape)
    width = op.CastLike(op.Shape(query, start=rank - 1), query)
    factor = op.CastLike(scale, query) if scale is not None else op.Reciprocal(op.Sqrt(width))
    transposed = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = op.MatMul(op.Mul(query, factor), transposed)
    if is_causal:
        rows, columns = (op.Range(0, op.Squeeze(op.Shape(each, start=-2, end=-1)), 1) for each in (query, key))
        mask = op.GreaterOrEqual(op.Unsqueeze(rows, [1]), columns)
    if mask is not None and (is_causal or mask.dtype is onnx_ir.DataType.BOOL):
        scores = op.Where(mask, scores, op.CastLike(-math.inf, scores))
    elif mask is not None:
        scores = op.Add(scores, mask)
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _with_axes(value: _Value, axes: Sequence[int]) -> _Value:
    """Return a value with axes of size 1 in front, as something whose shape is known."""
    import onnx_ir
    from onnxscript import opset18 as op

    more = op.Unsqueeze(value, axes)
    more.shape, more.dtype = onnx_ir.Shape([*(1 for _ in axes), *value.shape]), value.dtype
    return more
