"""Pooling by windows of one size, also of one that is computed, such as that of the whole image: `x.size()[2:]`."""

import math
from collections.abc import Mapping, Sequence

from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Symbolic,
    Value,
    constant,
    element,
    is_computed,
    is_none,
    known,
    own_symbolics,
    part,
    rank_of,
    reduced,
)


def average_pool(axes: int) -> Symbolic:
    """Divide by `divisor_override`, which the exporter ignores, and pool by windows of a computed size."""
    from torch.onnx import symbolic_helper

    def symbolic(
        graph: Graph,
        image: Value,
        kernel: Value,
        stride: Value,
        padding: Value,
        ceil: Value,
        padded: Value,
        divisor: Value = None,
    ) -> Value:
        from torch.onnx import errors

        if is_computed(kernel):
            settings = {**_settings(stride, padding, ceil), "divisor_override": not is_none(divisor)}
            return _by_windows(graph, image, kernel, "ReduceMean", axes, settings)
        sizes = _each(known(kernel, "is"), axes)
        divided = not is_none(divisor)
        if divided and known(ceil, "i"):
            raise errors.SymbolicValueError(
                "avg_pool with divisor_override and ceil_mode has no operator in ONNX", image
            )
        pooled = graph.op(
            "AveragePool",
            image,
            ceil_mode_i=known(ceil, "i"),
            count_include_pad_i=1 if divided else known(padded, "i"),
            kernel_shape_i=sizes,
            pads_i=_each(known(padding, "is"), axes) * 2,
            strides_i=_each(known(stride, "is") or sizes, axes),
        )
        if not divided:
            return pooled
        return graph.op("Mul", pooled, constant(graph, math.prod(sizes) / known(divisor, "i")))

    quantized: Symbolic = symbolic_helper.quantized_args(True)(symbolic)
    return quantized


def max_pool(axes: int) -> Symbolic:
    """Pool by windows of a computed size, which the exporter refuses."""
    own: Symbolic = own_symbolics(10)._max_pool(f"max_pool{axes}d", axes, return_indices=False)

    def symbolic(
        graph: Graph, image: Value, kernel: Value, stride: Value, padding: Value, dilation: Value, ceil: Value
    ) -> Value:
        if not is_computed(kernel):
            return own(graph, image, kernel, stride, padding, dilation, ceil)
        settings = {**_settings(stride, padding, ceil), "dilation": any(each != 1 for each in known(dilation, "is"))}
        return _by_windows(graph, image, kernel, "ReduceMax", axes, settings)

    return symbolic


def _by_windows(
    graph: Graph, image: Value, kernel: Value, operator: str, axes: int, settings: Mapping[str, bool]
) -> Value:
    """Pool by windows side by side: split each axis in two, of windows and of what is in them, and reduce the latter.

    Raises:
        torch.onnx.errors.SymbolicValueError: any of the settings isn't the default.
    """
    import torch
    from torch.onnx import errors

    for name, given in settings.items():
        if given:
            raise errors.SymbolicValueError(f"pooling by windows of a computed size with {name}", image)
    rank = rank_of(image)
    for index, axis in enumerate(range(rank - axes, rank)):
        shape = graph.op("Shape", image)
        side = graph.op("Reshape", element(graph, kernel, index), constant(graph, [1], torch.int64))
        count = graph.op("Div", part(graph, shape, axis, axis + 1), side)
        start, place = (constant(graph, [each], torch.int64) for each in (0, axis))
        whole = graph.op("Slice", image, start, graph.op("Mul", count, side), place)
        sizes = [part(graph, shape, 0, axis), count, side, part(graph, shape, axis + 1, rank)]
        windows = graph.op("Reshape", whole, graph.op("Concat", *sizes, axis_i=0))
        pooled = reduced(graph, operator, windows, [axis + 1], keep=False)
        pooled.setType(image.type().with_sizes([None] * rank))
        image = pooled
    return image


def _settings(stride: Value, padding: Value, ceil: Value) -> dict[str, bool]:
    """Return what isn't the default: without a stride, windows are side by side."""
    return {
        "stride": is_computed(stride) or bool(known(stride, "is")),
        "padding": any(known(padding, "is")),
        "ceil_mode": bool(known(ceil, "i")),
    }


def _each(sizes: Sequence[int], axes: int) -> list[int]:
    """Return a size for each axis; torch takes one for all."""
    return list(sizes) * axes if len(sizes) == 1 else list(sizes)
