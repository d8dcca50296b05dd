"""Normalization: elements without their mean, divided by what they spread."""

from collections.abc import Sequence

from navigator.frameworks.torch.symbolics.values import (
    Dtype,
    Graph,
    Value,
    cast,
    constant,
    dtype_of,
    is_computed,
    is_none,
    known,
    rank_of,
    reduced,
)


def batch_norm(
    graph: Graph,
    image: Value,
    weight: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    training: Value,
    momentum: Value,
    epsilon: Value,
    cudnn: Value,
) -> Value:
    """Normalize by the batch's own mean and variance in training mode, which ONNX Runtime has from opset 14 on only."""
    import torch
    from torch.onnx import symbolic_opset9, symbolic_opset14

    if not known(training, "i"):
        own = symbolic_opset14.batch_norm if graph.opset >= 14 else symbolic_opset9.batch_norm
        return own(graph, image, weight, bias, mean, variance, training, momentum, epsilon, cudnn)
    rank = rank_of(image)
    others = [axis for axis in range(rank) if axis != 1]
    result = _standardized(graph, image, others, epsilon, dtype_of(image) or torch.float32)
    shape = constant(graph, [-1, *[1] * (rank - 2)], torch.int64)
    for operator, factor in (("Mul", weight), ("Add", bias)):
        if not is_none(factor):
            result = graph.op(operator, result, graph.op("Reshape", factor, shape))
    return result


def layer_norm(
    graph: Graph, value: Value, shape: Value, weight: Value, bias: Value, epsilon: Value, cudnn: Value
) -> Value:
    """Normalize the last axes also where their sizes are computed, as of `x.shape[1:]`, which the exporter refuses."""
    import torch
    from torch.onnx import symbolic_opset9, symbolic_opset17

    if not is_computed(shape):
        own = symbolic_opset17.layer_norm if graph.opset >= 17 else symbolic_opset9.layer_norm
        return own(graph, value, shape, weight, bias, epsilon, cudnn)
    own_dtype = dtype_of(value) or torch.float32
    dtype = torch.promote_types(own_dtype, torch.float32)
    result = _standardized(graph, cast(graph, value, dtype), _last_axes(shape), epsilon, dtype)
    for operator, factor in (("Mul", weight), ("Add", bias)):
        if not is_none(factor):
            result = graph.op(operator, result, cast(graph, factor, dtype))
    return cast(graph, result, own_dtype)


def rms_norm(graph: Graph, value: Value, shape: Value, weight: Value, epsilon: Value) -> Value:
    """Divide by the root of the mean square, in float32 where that has more digits. The exporter has nothing for it."""
    import torch

    own = dtype_of(value) or torch.float32
    dtype = torch.promote_types(own, torch.float32)
    least = torch.finfo(dtype).eps if is_none(epsilon) else known(epsilon, "f")
    wide = cast(graph, value, dtype)
    square = reduced(graph, "ReduceMean", graph.op("Mul", wide, wide), _last_axes(shape), keep=True)
    result = graph.op("Div", wide, graph.op("Sqrt", graph.op("Add", square, constant(graph, least, dtype))))
    if not is_none(weight):
        result = graph.op("Mul", result, cast(graph, weight, dtype))
    return cast(graph, result, own)


def _standardized(graph: Graph, value: Value, axes: Sequence[int], epsilon: Value, dtype: Dtype) -> Value:
    """Return a value without its mean along `axes`, divided by its deviation there."""
    centred = graph.op("Sub", value, reduced(graph, "ReduceMean", value, axes, keep=True))
    spread = reduced(graph, "ReduceMean", graph.op("Mul", centred, centred), axes, keep=True)
    deviation = graph.op("Sqrt", graph.op("Add", spread, constant(graph, known(epsilon, "f"), dtype)))
    return graph.op("Div", centred, deviation)


def _last_axes(shape: Value) -> list[int]:
    """Return as many of the last axes as `shape` has sizes, which are a list, a vector or constants."""
    from torch.onnx import symbolic_helper

    if symbolic_helper._is_packed_list(shape):
        count = len(symbolic_helper._unpack_list(shape))
    else:
        count = symbolic_helper._get_tensor_dim_size(shape, 0) or len(known(shape, "is"))
    return [-1 - axis for axis in range(count)]
