"""Resizes by a factor: to the sizes that torch makes of it (see `navigator.frameworks.torch.factors`)."""

from navigator.frameworks.torch.factors import is_exact, no_less
from navigator.frameworks.torch.symbolics.values import Graph, Symbolic, Value, cast, constant, is_none, known


def by_factors(resize: Symbolic) -> Symbolic:
    """Return what writes a resize, by what writes it with other sizes."""

    def symbolic(graph: Graph, image: Value, size: Value, align_corners: Value, *scales: Value) -> Value:
        from torch.onnx import symbolic_helper

        factors = symbolic_helper._maybe_get_const(scales[0], "fs") if is_none(size) else None
        if not isinstance(factors, list):
            return resize(graph, image, size, align_corners, *scales)
        lengths = (symbolic_helper._get_tensor_sizes(image) or [None] * (len(factors) + 2))[2:]
        own = list(zip(lengths, factors, strict=True))
        if all(is_exact(*each) for each in own):
            return resize(graph, image, size, align_corners, *scales)
        sizes = [_size(graph, image, axis, factor) for axis, factor in enumerate(factors, 2)]
        if known(align_corners, "b"):  # which leaves the factors nothing to say but the sizes
            return resize(graph, image, graph.op("Concat", *sizes, axis_i=0), align_corners, size)
        found = resize(graph, image, size, align_corners, constant(graph, [no_less(*each) for each in own]))
        return _cut(graph, found, sizes)

    return symbolic


def plain(name: str, rank: int) -> Symbolic:
    """Return the exporter's own linear resize of images with this rank."""
    from torch.onnx import symbolic_helper

    own: Symbolic = symbolic_helper._interpolate_helper(name, rank, "linear")
    return own


def _size(graph: Graph, image: Value, axis: int, factor: float) -> Value:
    import torch

    own = graph.op("Gather", graph.op("Shape", image), constant(graph, [axis], torch.int64), axis_i=0)
    exact = graph.op("Mul", cast(graph, own, torch.float64), constant(graph, [factor], torch.float64))
    return cast(graph, graph.op("Floor", exact), torch.int64)


def _cut(graph: Graph, pixels: Value, sizes: list[Value]) -> Value:
    """Leave out the pixels at the end that torch doesn't have."""
    import torch

    starts, axes = (constant(graph, each, torch.int64) for each in ([0] * len(sizes), [*range(2, len(sizes) + 2)]))
    return graph.op("Slice", pixels, starts, graph.op("Concat", *sizes, axis_i=0), axes)
