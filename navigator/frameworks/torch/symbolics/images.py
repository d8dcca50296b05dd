"""Operators of images and of matrices: resizes, samples, diagonals."""

from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Symbolic,
    Value,
    cast,
    constant,
    dtype_of,
    known,
    own_symbolics,
    part,
    rank_of,
    require_opset,
)

# The lowest opset whose GridSample takes images with a depth.
_VOLUMES = 20


def resize(name: str, mode: str) -> Symbolic:
    """Resize uint8 images as torch does: the width first, then the height, each rounded to whole numbers.

    ONNX Runtime's Resize cuts uint8 off, and takes none with mode cubic. What is left is at most one off, in up to 3 %
    of the pixels: torch rounds its weights to 14 bits.
    """
    import torch
    from torch.onnx import symbolic_helper

    resized = symbolic_helper._interpolate_helper(name, 4, mode)

    def symbolic(graph: Graph, image: Value, size: Value, *arguments: Value) -> Value:
        if dtype_of(image) is not torch.uint8:
            return resized(graph, image, size, *arguments)
        scales, align_corners = symbolic_helper._get_interpolate_attributes(graph, mode, arguments)
        if scales is None:
            own = graph.op("Shape", image)
            wanted = graph.op("Concat", part(graph, own, 0, 2), cast(graph, size, torch.int64), axis_i=0)
            height = wanted
        else:
            own, wanted = constant(graph, [1.0] * 4), scales
            height = graph.op("Concat", part(graph, wanted, 0, 3), part(graph, own, 3, 4), axis_i=0)
        width = graph.op("Concat", part(graph, own, 0, 3), part(graph, wanted, 3, 4), axis_i=0)
        pixels = cast(graph, image, torch.float32)
        for target in (width, height):
            pixels = graph.op(
                "Resize",
                pixels,
                constant(graph, []),
                *([constant(graph, []), target] if scales is None else [target]),
                coordinate_transformation_mode_s="align_corners" if known(align_corners, "b") else "half_pixel",
                cubic_coeff_a_f=-0.75,
                mode_s=mode,
            )
            pixels = graph.op("Floor", graph.op("Add", pixels, constant(graph, 0.5)))
            pixels = graph.op("Min", graph.op("Max", pixels, constant(graph, 0.0)), constant(graph, 255.0))
        return cast(graph, pixels, torch.uint8)

    return symbolic


def diagonal(graph: Graph, matrix: Value, offset: Value, row_axis: Value, column_axis: Value) -> Value:
    """Take the elements. The exporter multiplies by a float mask: no whole numbers, and NaN beside an infinity."""
    import torch

    rank, start = rank_of(matrix), known(offset, "i")
    last = [known(axis, "i") % rank for axis in (row_axis, column_axis)]
    order = [axis for axis in range(rank) if axis not in last] + last
    shape = graph.op("Shape", graph.op("Transpose", matrix, perm_i=order))
    rows, columns = (
        graph.op("Gather", shape, constant(graph, rank + index, torch.int64), axis_i=0) for index in (-2, -1)
    )
    down, right = (constant(graph, max(0, each), torch.int64) for each in (-start, start))
    zero, one = constant(graph, 0, torch.int64), constant(graph, 1, torch.int64)
    count = graph.op("Min", graph.op("Sub", rows, down), graph.op("Sub", columns, right))
    places = graph.op("Range", zero, graph.op("Max", count, zero), one)
    first = graph.op("Add", graph.op("Mul", down, columns), right)
    places = graph.op("Add", first, graph.op("Mul", places, graph.op("Add", columns, one)))
    flat = graph.op("Concat", part(graph, shape, 0, rank - 2), constant(graph, [-1], torch.int64), axis_i=0)
    elements = graph.op("Reshape", graph.op("Transpose", matrix, perm_i=order), flat)
    return graph.op("Gather", elements, places, axis_i=rank - 2)


def in_batches(name: str, opset: int, rank: int) -> Symbolic:
    """Return what writes an operator of this rank, and of one less: the exporter takes it for one of a batch."""
    from torch.onnx import symbolic_helper

    def symbolic(graph: Graph, image: Value, *arguments: Value) -> Value:
        own = getattr(own_symbolics(opset), name)
        if rank_of(image) == rank:
            return own(graph, image, *arguments)
        batch = own(graph, symbolic_helper._unsqueeze_helper(graph, image, [0]), *arguments)
        return symbolic_helper._squeeze_helper(graph, batch, [0])

    return symbolic


def grid_sampler(graph: Graph, image: Value, *arguments: Value) -> Value:
    """Say from which opset on volumes can be sampled, which the exporter doesn't."""
    if rank_of(image) > 4:
        require_opset(graph, _VOLUMES, "aten::grid_sampler", "ONNX samples no volumes")
    own = own_symbolics(16).grid_sampler if graph.opset < _VOLUMES else own_symbolics(20)._grid_sampler
    return own(graph, image, *arguments)
