"""Operators of elements, and of distances between rows."""

import math

from navigator.frameworks.torch.products import TO_THE_END, steps_back
from navigator.frameworks.torch.symbolics.values import (
    Dtype,
    Graph,
    Value,
    as_float,
    cast,
    constant,
    dtype_of,
    is_none,
    known,
    known_axes,
    promoted,
    rank_of,
    reduced,
)

# From here on, log(1 + exp(x)) is x in float32.
_EQUAL_FROM = 17


def floor_divide(graph: Graph, dividend: Value, divisor: Value) -> Value:
    """Round down, in the type that torch takes. The exporter rounds towards zero, as torch 1.12 did."""
    dtype = promoted(graph, dividend, divisor)
    if dtype is None:
        return graph.op("Floor", graph.op("Div", dividend, divisor))  # invalid for whole numbers, never wrong
    dividend, divisor = (cast(graph, each, dtype) for each in (dividend, divisor))
    if dtype.is_floating_point:
        return graph.op("Floor", graph.op("Div", dividend, divisor))
    return _floored(graph, dividend, divisor, dtype)


def right_shift(graph: Graph, value: Value, places: Value) -> Value:
    """Divide by a power of two and round down. The exporter rounds towards zero."""
    import torch

    dtype = promoted(graph, value, places) or torch.int64
    # 2 ** 63 is more than int64 holds.
    places = graph.op("Min", cast(graph, places, torch.float64), constant(graph, 62.0, torch.float64))
    power = cast(graph, graph.op("Pow", constant(graph, 2.0, torch.float64), places), torch.int64)
    return cast(graph, _floored(graph, cast(graph, value, torch.int64), power, torch.int64), dtype)


def atan2(graph: Graph, y: Value, x: Value) -> Value:
    """Return 0 where both are 0, and pi where only `y` is and `x` is negative: the exporter returns NaN and -pi."""
    y, x = as_float(graph, y), as_float(graph, x)
    zero, one, pi = (constant(graph, each) for each in (0.0, 1.0, math.pi))
    has_y, has_x = (graph.op("Greater", graph.op("Abs", each), zero) for each in (y, x))
    # Not a negative zero either, which would turn the angle around.
    divisor = graph.op("Where", has_x, x, graph.op("Where", has_y, zero, one))
    angle = graph.op("Atan", graph.op("Div", y, divisor))
    turned = graph.op("Where", graph.op("Less", y, zero), graph.op("Sub", angle, pi), graph.op("Add", angle, pi))
    return graph.op("Where", graph.op("Less", x, zero), turned, angle)


def log_sigmoid(graph: Graph, value: Value) -> Value:
    """Return -log(1 + exp(-x)). The exporter takes the logarithm of a sigmoid, which is 0 from about -104 on."""
    return graph.op("Neg", graph.op("Softplus", graph.op("Neg", value)))


def sign(graph: Graph, value: Value) -> Value:
    """Return 0 for NaN, of which ONNX's operator makes NaN."""
    dtype = dtype_of(value)
    found = graph.op("Sign", value)
    if dtype is not None and not dtype.is_floating_point:
        return found
    return graph.op("Where", graph.op("IsNaN", value), constant(graph, 0.0, dtype), found)


def softplus(graph: Graph, value: Value, beta: Value, threshold: Value) -> Value:
    """Return the value itself above a threshold that float32 shows; the exporter knows none."""
    from torch.onnx import symbolic_opset9

    soft = symbolic_opset9.softplus(graph, value, beta, threshold)
    if known(threshold, "f") >= _EQUAL_FROM:
        return soft
    scaled = graph.op("Mul", value, constant(graph, known(beta, "f"), dtype_of(value)))
    above = graph.op("Greater", scaled, constant(graph, known(threshold, "f"), dtype_of(value)))
    return graph.op("Where", above, value, soft)


def logit(graph: Graph, value: Value, epsilon: Value) -> Value:
    """Take a whole number for the float that it becomes: the exporter makes epsilon a whole number."""
    from torch.onnx import symbolic_opset9

    return symbolic_opset9.logit(graph, as_float(graph, value), epsilon)


def log10(graph: Graph, value: Value) -> Value:
    """Keep a scalar a scalar. The exporter makes it a vector."""
    return graph.op("Div", graph.op("Log", as_float(graph, value)), constant(graph, math.log(10)))


def any_true(graph: Graph, value: Value, axis: Value = None, keep: Value = None) -> Value:
    """Take every element but 0 for true. The exporter adds whole numbers, which may cancel, and cuts off others.

    What is true is counted: the largest of no elements is no 0.
    """
    import torch

    truth = cast(graph, cast(graph, value, torch.bool), torch.int32)
    if axis is None:
        found = graph.op("ReduceSum", truth, keepdims_i=0)
    else:
        found = reduced(graph, "ReduceSum", truth, known_axes(axis), keep=bool(known(keep, "i")))
    return cast(graph, found, torch.uint8 if dtype_of(value) is torch.uint8 else torch.bool)


def pairwise_distance(graph: Graph, one: Value, other: Value, power: Value, epsilon: Value, keep: Value) -> Value:
    """Add epsilon to the differences and take their norm. The exporter adds signed powers, and epsilon to the power."""
    difference = graph.op("Add", graph.op("Sub", one, other), constant(graph, known(epsilon, "f")))
    return _norm(graph, difference, known(power, "f"), keep=bool(known(keep, "i")))


def cosine_similarity(graph: Graph, one: Value, other: Value, axis: Value, epsilon: Value) -> Value:
    """Divide by lengths that are at least epsilon each. With the exporter, their product is."""
    axes, least = [known(axis, "i")], constant(graph, known(epsilon, "f") ** 2)
    products = graph.op("Mul", one, other)
    shape = graph.op("Shape", products)
    squares = (graph.op("Expand", graph.op("Mul", each, each), shape) for each in (one, other))
    lengths = (reduced(graph, "ReduceSum", each, axes, keep=False) for each in squares)
    first, second = (graph.op("Sqrt", graph.op("Max", each, least)) for each in lengths)
    product = reduced(graph, "ReduceSum", products, axes, keep=False)
    return graph.op("Div", product, graph.op("Mul", first, second))


def cdist(graph: Graph, one: Value, other: Value, power: Value, mode: Value) -> Value:
    """Take the norm of the differences. The exporter adds signed powers, which is right for even ones."""
    from torch.onnx import symbolic_helper, symbolic_opset9

    number = known(power, "f")
    rank, other_rank = rank_of(one), rank_of(other)
    if number == 2 and rank == other_rank:
        return symbolic_opset9.cdist(graph, one, other, power, mode)
    one = symbolic_helper._unsqueeze_helper(graph, one, [rank - 1])
    other = symbolic_helper._unsqueeze_helper(graph, other, [other_rank - 2])
    return _norm(graph, graph.op("Sub", one, other), number, keep=False)


def cross_entropy_of_logits(
    graph: Graph, logits: Value, target: Value, weight: Value, positive: Value, reduction: Value
) -> Value:
    """Return (1 - y) x + (1 + (p - 1) y) log(1 + exp(-x)), as torch does, with `positive` p.

    The exporter takes logarithms of sigmoids, which are 0 or 1 for logits of some hundred.
    """
    dtype = dtype_of(logits)
    one, target = constant(graph, 1.0, dtype), target if dtype is None else cast(graph, target, dtype)
    loss = graph.op("Softplus", graph.op("Neg", logits))
    if not is_none(positive):
        more = graph.op("Mul", graph.op("Sub", positive, one), target)
        loss = graph.op("Mul", graph.op("Add", one, more), loss)
    loss = graph.op("Add", graph.op("Mul", graph.op("Sub", one, target), logits), loss)
    if not is_none(weight):
        loss = graph.op("Mul", loss, weight)
    over = {0: "", 1: "ReduceMean", 2: "ReduceSum"}[known(reduction, "i")]
    return graph.op(over, loss, keepdims_i=0) if over else loss


def var_mean(graph: Graph, value: Value, *arguments: Value) -> tuple[Value, Value]:
    """Return the variance and the mean, with a correction that may be a fraction: the exporter cuts it off.

    `arguments` are the axes, the correction and whether to keep the axes, or whether there is a correction alone.
    """
    from torch.onnx import symbolic_helper

    given, correction, keep = arguments if len(arguments) == 3 else (None, *arguments, None)
    kept = keep is not None and known(keep, "i")
    axes = None if is_none(given) else known(given, "is")
    if kept and not axes:
        axes = [*range(rank_of(value))]  # which the exporter doesn't keep
    number = None if is_none(correction) else known(correction, "f")
    return symbolic_helper._var_mean_helper.__wrapped__(  # type: ignore[no-any-return] # untyped
        graph, value, axes or None, number, int(kept)
    )


def std_mean(graph: Graph, value: Value, *arguments: Value) -> tuple[Value, Value]:
    """See `var_mean`."""
    variance, mean = var_mean(graph, value, *arguments)
    return graph.op("Sqrt", variance), mean


def var(graph: Graph, value: Value, *arguments: Value) -> Value:
    """See `var_mean`."""
    return var_mean(graph, value, *arguments)[0]


def std(graph: Graph, value: Value, *arguments: Value) -> Value:
    """See `var_mean`."""
    return std_mean(graph, value, *arguments)[0]


def _norm(graph: Graph, difference: Value, power: float, *, keep: bool) -> Value:
    """Return the norm of the last axis."""
    size = graph.op("Abs", difference)
    if math.isinf(power):
        return reduced(graph, "ReduceMax", size, [-1], keep=keep)
    if power == 0:
        return reduced(graph, "ReduceSum", graph.op("Sign", size), [-1], keep=keep)
    if power == 1:
        return reduced(graph, "ReduceSum", size, [-1], keep=keep)
    total = reduced(graph, "ReduceSum", graph.op("Pow", size, constant(graph, power)), [-1], keep=keep)
    return graph.op("Pow", total, constant(graph, 1 / power))


def _floored(graph: Graph, dividend: Value, divisor: Value, dtype: Dtype) -> Value:
    """Divide whole numbers and round down; ONNX's Div rounds towards zero."""
    import torch

    quotient = graph.op("Div", dividend, divisor)
    if dtype is torch.uint8:
        return quotient
    zero = constant(graph, 0, dtype)
    rest = graph.op("Sub", dividend, graph.op("Mul", quotient, divisor))
    signs = graph.op("Xor", graph.op("Less", rest, zero), graph.op("Less", divisor, zero))
    below = graph.op("And", signs, graph.op("Not", graph.op("Equal", rest, zero)))
    return graph.op("Sub", quotient, cast(graph, below, dtype))


def cumprod(graph: Graph, value: Value, axis: Value, dtype: Value = None) -> Value:
    """Multiply by what lies 1, 2, 4 ... places before: ONNX has no such operator.

    Torch multiplies one after the other; the difference is rounding.
    """
    import torch
    from torch.onnx import symbolic_helper

    own = dtype_of(value)
    if not is_none(dtype):
        value = graph.op("Cast", value, to_i=symbolic_helper._type_utils.JitScalarType(known(dtype, "i")).onnx_type())
    elif own is not None and not own.is_floating_point:
        value = cast(graph, value, torch.int64)
    place = known(axis, "i")
    size = symbolic_helper._get_tensor_dim_size(value, place)

    def slices(start: int, end: int) -> Value:
        return symbolic_helper._slice_helper(graph, value, axes=[place], starts=[start], ends=[end])

    for places in steps_back(size):
        product = graph.op("Mul", slices(places, TO_THE_END), slices(0, -places))
        value = graph.op("Concat", slices(0, places), product, axis_i=place)
    return value
