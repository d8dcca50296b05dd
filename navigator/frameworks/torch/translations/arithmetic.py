"""Operators of elements, and of sizes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from navigator.frameworks.torch.products import TO_THE_END, steps_back

# A value in the graph, or a number.
_Value = Any

# What makes a size, which isn't negative.
_SIZES = frozenset({"Shape", "Gather", "Squeeze", "Slice"})

# Of Numerical Recipes' erfcc, from the constant on.
_ERFC = (
    *(-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806),
    *(0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277),
)


def logaddexp(one: _Value, other: _Value) -> _Value:
    """Take the larger one out of the sum, whose exponentials overflow at 89 and vanish at -104."""
    from onnxscript import opset18 as op

    larger, smaller = op.Max(one, other), op.Min(one, other)
    # Of two equal infinities there is no difference.
    return op.Where(op.IsInf(larger), larger, op.Add(larger, op.Softplus(op.Sub(smaller, larger))))


def logaddexp2(one: _Value, other: _Value) -> _Value:
    """See `logaddexp`."""
    from onnxscript import opset18 as op

    return op.Div(logaddexp(op.Mul(one, math.log(2)), op.Mul(other, math.log(2))), math.log(2))


def logcumsumexp(value: _Value, dim: int) -> _Value:
    """Add what lies 1, 2, 4 ... places before, as `logaddexp` does.

    onnxscript takes the largest of all out of each sum, and smaller ones vanish before it comes. It still does so along
    an axis of any size.
    """
    from onnxscript import opset18 as op

    size = value.shape[dim] if len(value.shape) else 1
    if not isinstance(size, int):
        from onnxscript.function_libs.torch_lib.ops import core

        return core.aten_logcumsumexp(value, dim)
    for places in (2**power for power in range((size - 1).bit_length())):
        before = op.Pad(value, [places, -places], op.CastLike(-math.inf, value), [dim])
        value = logaddexp(value, before)
    return op.Identity(value)


def cumprod(value: _Value, dim: int, dtype: int = -1) -> _Value:
    """Multiply by what lies 1, 2, 4 ... places before: ONNX has no such operator, and torch's other has none either.

    Torch multiplies one after the other; the difference is rounding.
    """
    import onnx_ir
    from onnxscript import opset18 as op

    size, axes = value.shape[dim] if len(value.shape) else 1, [dim]
    if dtype >= 0 or not value.dtype.is_floating_point():
        value = op.Cast(value, to=dtype if dtype >= 0 else onnx_ir.DataType.INT64)
    for places in steps_back(size if isinstance(size, int) else None):
        product = op.Mul(op.Slice(value, [places], [TO_THE_END], axes), op.Slice(value, [0], [-places], axes))
        value = op.Concat(op.Slice(value, [0], [places], axes), product, axis=dim)
    return op.Identity(value)


def erfcx(value: _Value) -> _Value:
    """Return exp(x * x) * erfc(x), of which `log_ndtr` is made: onnxscript's erfc is 0 from about 4 on.

    Source: Press et al., Numerical Recipes in C, 2nd edition, 6.2: `erfcc`, whose relative error is below 1.2e-7.
    """
    from onnxscript import opset18 as op

    def constant(number: float) -> _Value:
        return op.CastLike(number, value)

    size = op.Abs(value)
    part = op.Reciprocal(op.Add(op.Mul(size, constant(0.5)), constant(1.0)))
    exponent = constant(0.0)
    for factor in reversed(_ERFC):
        exponent = op.Add(op.Mul(exponent, part), constant(factor))
    positive = op.Mul(part, op.Exp(exponent))
    negative = op.Sub(op.Mul(op.Exp(op.Mul(value, value)), constant(2.0)), positive)
    return op.Where(op.Less(value, constant(0.0)), negative, positive)


def log_sigmoid(value: _Value) -> _Value:
    """Return -log(1 + exp(-x)): the logarithm of a sigmoid is that of 0 from about -104 on."""
    from onnxscript import opset18 as op

    return op.Neg(op.Softplus(op.Neg(value)))


def sign(value: _Value) -> _Value:
    """Return 0 for NaN, of which ONNX's operator makes NaN."""
    from onnxscript import opset18 as op

    if not value.dtype.is_floating_point():
        return op.Sign(value)
    return op.Where(op.IsNaN(value), op.CastLike(0.0, value), op.Sign(value))


def atan2(y: _Value, x: _Value) -> _Value:
    """Return pi, not -pi, where `y` is 0 and `x` is negative."""
    from onnxscript import opset18 as op

    has_y, has_x = (op.Greater(op.Abs(each), 0.0) for each in (y, x))
    zero, one = op.CastLike(0.0, y), op.CastLike(1.0, y)
    # Not a negative zero either, which would turn the angle around.
    angle = op.Atan(op.Div(y, op.Where(has_x, x, op.Where(has_y, zero, one))))
    turned = op.Where(op.Less(y, 0.0), op.Sub(angle, math.pi), op.Add(angle, math.pi))
    return op.Where(op.Less(x, 0.0), turned, angle)


def extreme(name: str) -> Callable[..., _Value]:
    """Take all axes if none is given, which onnxscript asks for. `name` is "amax" or "amin"."""

    def translation(value: _Value, dim: Sequence[int] = (), keepdim: bool = False) -> _Value:
        from onnxscript.function_libs.torch_lib.ops import core

        axes = dim or range(len(value.shape))
        return getattr(core, f"aten_{name}")(value, [*axes], keepdim)

    return translation


def angle(value: _Value) -> _Value:
    """Return float32 for whole numbers, whose type onnxscript keeps: 3 instead of pi for a negative one."""
    from onnxscript import opset18 as op

    if not value.dtype.is_floating_point():
        value = op.Cast(value, to=1)  # onnx.TensorProto.FLOAT
    return op.Where(op.Less(value, op.CastLike(0.0, value)), op.CastLike(math.pi, value), op.CastLike(0.0, value))


def shift(direction: str) -> Callable[..., _Value]:
    """Keep uint8, which onnxscript makes int8: 200 >> 0 is -56. `direction` is "left" or "right"."""

    def translation(value: _Value, places: _Value) -> _Value:
        import onnx_ir
        from onnxscript import opset18 as op
        from onnxscript.function_libs.torch_lib.ops import core

        places = op.CastLike(places, value)
        if value.dtype is onnx_ir.DataType.UINT8:
            return op.BitShift(value, places, direction=direction.upper())
        return getattr(core, f"aten_bitwise_{direction}_shift")(value, places)

    return translation


def floor_divide_sizes(dividend: _Value, divisor: _Value) -> _Value:
    """Round down a negative one, as in `-(-length // 2)`, which rounds up: onnxscript rounds towards zero."""
    from onnxscript import opset18 as op

    producer = None if isinstance(dividend, int) else dividend.producer()
    if producer is not None and producer.op_type in _SIZES:
        return op.Div(dividend, divisor)
    return op.Div(op.Sub(dividend, op.Mod(dividend, divisor)), divisor)


def distances(one: _Value, other: _Value, p: float, compute_mode: int | None = None) -> _Value:  # noqa: ARG001 - only how
    """Return the distances of all rows of `one` to all of `other`, of which onnxscript knows nothing."""
    from onnxscript import opset18 as op

    apart = op.Abs(op.Sub(op.Unsqueeze(one, [-2]), op.Unsqueeze(other, [-3])))
    if p == math.inf:
        return op.ReduceMax(apart, [-1], keepdims=0)
    if p == 0:
        return op.ReduceSum(op.CastLike(op.Greater(apart, op.CastLike(0.0, apart)), apart), [-1], keepdims=0)
    if p in (1, 2):
        return (op.ReduceL1 if p == 1 else op.ReduceL2)(apart, [-1], keepdims=0)
    power = op.CastLike(p, apart)
    return op.Pow(op.ReduceSum(op.Pow(apart, power), [-1], keepdims=0), op.Reciprocal(power))
