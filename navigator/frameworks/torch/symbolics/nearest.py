"""Resizes to the nearest pixels: those that torch takes (see `navigator.frameworks.torch.nearest`).

Those of scripted modules are one operator for all modes.
"""

from collections.abc import Sequence
from typing import Any

from navigator.frameworks.torch.nearest import is_same
from navigator.frameworks.torch.symbolics.antialiased import antialias
from navigator.frameworks.torch.symbolics.images import resize
from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Symbolic,
    Value,
    cast,
    constant,
    element,
    is_none,
    known,
    originals,
    part,
    rank_of,
)

_COMPUTED = [None]


def upsample(name: str, *, centred: bool = False) -> Symbolic:
    """Return what writes `upsample_nearest1d` and the like; `centred`: `_upsample_nearest_exact1d` and the like."""
    from torch.onnx import errors, symbolic_helper

    def symbolic(graph: Graph, image: Value, size: Value, *factors: Value) -> Value:
        given = originals(graph)[2:]
        several = (given[0] if len(given) == 1 else given) or _COMPUTED
        taken = _taken(graph, image, size, None if all(map(is_none, factors)) else several, centred=centred)
        if taken is not None:
            return taken
        if centred:
            raise errors.SymbolicValueError("interpolate with nearest-exact and a computed factor", image)
        return symbolic_helper._interpolate_helper(name, rank_of(image), "nearest")(graph, image, size, *factors)

    quantized: Symbolic = symbolic_helper.quantized_args(True)(symbolic)
    return quantized


def interpolate() -> Symbolic:
    """Return what writes calls of `torch.nn.functional.interpolate` in scripted modules."""
    from torch.onnx import symbolic_helper

    def symbolic(
        graph: Graph, image: Value, size: Value, factor: Value, mode: Value, align: Value, recompute: Value, _: Value
    ) -> Value:
        _, _, given, _, corners, _, antialiased = originals(graph)
        taken = None
        name = symbolic_helper._maybe_get_const(mode, "s")
        recomputed = not is_none(recompute) and known(recompute, "b")
        several = ([given] * (rank_of(image) - 2) if isinstance(given, float) else given) or _COMPUTED
        if antialiased:
            factors = None if is_none(factor) or recomputed else several
            if recomputed:
                shape = graph.op("Shape", image)
                size = [_longer(graph, shape, axis, each) for axis, each in enumerate(several, 2)]
            return antialias(graph, image, name, size, factors, corners=bool(corners))
        if name == "nearest":
            taken = _taken(graph, image, size, None if is_none(factor) else several, recomputed=recomputed)
        elif "linear" in name or "cubic" in name:
            wanted = size if _is_list(graph, 1) else None
            if recomputed and None not in several:
                shape = graph.op("Shape", image)
                counts = [_longer(graph, shape, axis, each) for axis, each in enumerate(several, 2)]
                wanted = graph.op("Concat", *counts, axis_i=0)
            if wanted is not None:
                # The exporter forgets `recompute`, and takes sizes such as x.shape[-2:] for one number.
                resized = resize(name, "cubic" if "cubic" in name else "linear")
                none = symbolic_helper._optional_input_placeholder_tensor(graph)
                taken = resized(graph, image, wanted, constant(graph, bool(corners)), none)
                taken.setType(image.type().with_sizes([None] * rank_of(image)))
        own = symbolic_helper.__interpolate_helper
        return own(graph, image, size, factor, mode, align, recompute) if taken is None else taken

    quantized: Symbolic = symbolic_helper.quantized_args(True)(symbolic)
    return quantized


def _taken(
    graph: Graph, image: Value, size: Value, factors: Any, *, recomputed: bool = False, centred: bool = False
) -> Value | None:
    """Return the pixels that torch takes, or None if a Resize takes the same, or factors are computed.

    Args:
        graph: where to write them.
        image: with a batch and channels.
        size: of the axes that follow; it counts without `factors`.
        factors: for each axis; None if there are none.
        recomputed: whether the sizes that `factors` lead to count in their place.
        centred: whether places are the middles of pixels (`nearest-exact`), for which the exporter has nothing.
    """
    import torch
    from torch.onnx import symbolic_helper

    rank = rank_of(image)
    if factors is not None and not all(isinstance(each, float) for each in factors):
        return None
    owns = (symbolic_helper._get_tensor_sizes(image) or [None] * rank)[2:]
    sizes = _known_sizes(size, owns, factors)
    by_factors = factors is not None and not recomputed
    if not centred and all(map(is_same, owns, sizes, factors if by_factors else [None] * len(owns))):
        return None
    shape = graph.op("Shape", image)
    for axis in range(2, rank):
        index = axis - 2
        own = graph.op("Gather", shape, constant(graph, axis, torch.int64), axis_i=0)
        if factors is None:
            count = element(graph, size, index)
        else:
            count = symbolic_helper._squeeze_helper(graph, _longer(graph, shape, axis, factors[index]), [0])
        length = cast(graph, own, torch.float32)
        if by_factors:
            reciprocal = constant(graph, 1 / factors[index], torch.float32)
        else:
            reciprocal = graph.op("Div", length, cast(graph, count, torch.float32))
        zero, one = constant(graph, 0, torch.int64), constant(graph, 1, torch.int64)
        places = cast(graph, graph.op("Range", zero, count, one), torch.float32)
        if centred:
            places = graph.op("Add", places, constant(graph, 0.5))
        places = graph.op("Floor", graph.op("Mul", places, reciprocal))
        last = graph.op("Sub", length, constant(graph, 1.0))
        image = graph.op("Gather", image, cast(graph, graph.op("Min", places, last), torch.int64), axis_i=axis)
    return image


def _is_list(graph: Graph, index: int) -> bool:
    """Return whether an argument of torch's node is a list, which may be computed."""
    return "List" in [*graph.original_node.inputs()][index].type().annotation_str


def _longer(graph: Graph, shape: Value, axis: int, factor: float) -> Value:
    """Return the size of an axis times a factor as torch computes it, as a vector.

    Of two numbers that aren't vectors the exporter makes float32.
    """
    import torch

    exact = cast(graph, part(graph, shape, axis, axis + 1), torch.float64)
    longer = graph.op("Floor", graph.op("Mul", exact, constant(graph, [factor], torch.float64)))
    return cast(graph, longer, torch.int64)


def _known_sizes(size: Value, owns: Sequence[int | None], factors: Sequence[float] | None) -> Sequence[int | None]:
    from torch.onnx import symbolic_helper

    if factors is not None:
        return [None if own is None else int(own * factor) for own, factor in zip(owns, factors, strict=True)]
    value = None if symbolic_helper._is_packed_list(size) else symbolic_helper._maybe_get_const(size, "t")
    found = value.view(-1).tolist() if value is not None and not symbolic_helper._is_value(value) else [None]
    return found * len(owns) if len(found) == 1 else found
