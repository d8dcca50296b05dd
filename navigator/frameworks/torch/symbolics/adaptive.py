"""Pooling to a number of windows, whatever the size of the image."""

from typing import Any

from navigator.frameworks.torch.symbolics.values import Graph, Symbolic, Value, constant, rank_of, reduced


def adaptive_pool(kind: str, axes: int) -> Symbolic:
    """Return what writes `adaptive_avg_pool2d` and the like, `kind` being "avg" or "max".

    The exporter knows one window, or windows of one size in an image of a known size, and takes the channels of one
    image without a batch for the batch. Else each window is cut out here.
    """
    from torch.onnx import symbolic_helper, symbolic_opset9

    name = f"adaptive_{kind}_pool{axes}d"
    own: Symbolic = getattr(symbolic_opset9, name)

    def symbolic(graph: Graph, image: Value, size: Value) -> Value:
        rank = rank_of(image)
        given = _windows(graph, rank)
        known = (symbolic_helper._get_tensor_sizes(image) or [None] * rank)[rank - axes :]
        if any(each != 1 for each in given) and not all(
            count and length and length % count == 0 for count, length in zip(given, known, strict=True)
        ):
            pooled = image
            for axis, count in enumerate(given, rank - axes):
                pooled = pooled if count is None else _pooled(graph, pooled, kind, axis, count)
            return pooled if kind == "avg" else (pooled, None)
        if rank != axes + 1:
            return own(graph, image, size)
        pooled = own(graph, symbolic_helper._unsqueeze_helper(graph, image, [0]), size)
        several = pooled if isinstance(pooled, tuple) else (pooled,)
        single = [None if each is None else symbolic_helper._squeeze_helper(graph, each, [0]) for each in several]
        return tuple(single) if isinstance(pooled, tuple) else single[0]

    quantized: Symbolic = symbolic_helper.quantized_args(True)(symbolic)
    return quantized


def _windows(graph: Graph, rank: int) -> list[int | None]:
    """Return the number of windows of each axis, None where it's the size of the image itself.

    Raises:
        torch.onnx.errors.SymbolicValueError: the model computes it.
    """
    from torch.onnx import errors

    image, listed = list(graph.original_node.inputs())[:2]
    constants = listed.toIValue()
    items = [*listed.node().inputs()] if constants is None else []
    counts = [each.toIValue() for each in items] if constants is None else list(constants)
    for index, (count, item) in enumerate(zip(counts, items, strict=False)):
        if count is None and not _is_size(item, image, index + rank - len(items), rank):
            raise errors.SymbolicValueError("adaptive pooling to a computed number of windows", image)
    if not counts:
        raise errors.SymbolicValueError("adaptive pooling to a computed number of windows", image)
    return counts


def _is_size(value: Any, image: Any, axis: int, rank: int) -> bool:
    """Return whether a number of torch's graph is the size of an axis of `image`."""
    node = value.node()
    while node.kind() in ("aten::Int", "prim::NumToTensor"):
        node = node.inputsAt(0).node()
    if node.kind() != "aten::size" or node.inputsAt(0).debugName() != image.debugName():
        return False
    place = node.inputsAt(1).toIValue()
    return place is not None and place % rank == axis


def _pooled(graph: Graph, image: Value, kind: str, axis: int, count: int) -> Value:
    """Return the means or the largest values of windows along one axis."""
    import torch

    def number(value: int) -> Value:
        return constant(graph, [value], torch.int64)

    size = graph.op("Gather", graph.op("Shape", image), number(axis), axis_i=0)
    found = []
    for index in range(count):
        start = graph.op("Div", graph.op("Mul", size, number(index)), number(count))
        end = graph.op("Add", graph.op("Mul", size, number(index + 1)), number(count - 1))
        window = graph.op("Slice", image, start, graph.op("Div", end, number(count)), number(axis))
        window.setType(image.type().with_sizes([None] * rank_of(image)))
        found.append(reduced(graph, "ReduceMean" if kind == "avg" else "ReduceMax", window, [axis], keep=True))
    return graph.op("Concat", *found, axis_i=axis)
