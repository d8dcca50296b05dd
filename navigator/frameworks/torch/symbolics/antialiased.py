"""Resizes of images with antialiasing, for which the exporter has nothing."""

from collections.abc import Sequence
from typing import Any

from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Symbolic,
    Value,
    cast,
    constant,
    dtype_of,
    element,
    is_none,
    known,
    originals,
    part,
    require_opset,
)

# The lowest opset whose Resize has antialiasing.
_LOWEST = 18


def upsample(mode: str) -> Symbolic:
    """Return what writes `_upsample_bilinear2d_aa` and the like."""

    def symbolic(graph: Graph, image: Value, size: Value, corners: Value, *_: Value) -> Value:
        given = originals(graph)[3:]
        factors = given[0] if len(given) == 1 else given
        wanted = factors if is_none(size) else None
        return antialias(graph, image, mode, size, wanted, corners=known(corners, "b"))

    return symbolic


def antialias(
    graph: Graph, image: Value, mode: str, size: Value | list[Value], factors: Sequence[Any] | None, *, corners: bool
) -> Value:
    """Resize by the factors that torch is given, or to a size if there are none.

    Refuse align_corners, with which ONNX Runtime's (1.32) antialiased Resize takes other pixels than torch.
    """
    import torch
    from torch.onnx import errors

    require_opset(graph, _LOWEST, "interpolate", "Resize has no antialiasing")
    if corners:
        raise errors.SymbolicValueError(
            "interpolate with antialias and align_corners has no right operator in ONNX Runtime", image
        )
    if factors is not None and not all(isinstance(each, float) for each in factors):
        raise errors.SymbolicValueError("interpolate with antialias and a computed factor", image)
    whole = dtype_of(image) is torch.uint8
    if factors is not None:
        targets = [constant(graph, [each], torch.float32) for each in factors]
        kept = [constant(graph, [1.0], torch.float32)] * 4
    else:
        targets = size if isinstance(size, list) else [_one(graph, element(graph, size, axis)) for axis in (0, 1)]
        shape = graph.op("Shape", image)
        kept = [part(graph, shape, axis, axis + 1) for axis in range(4)]
    pixels = cast(graph, image, torch.float32) if whole else image
    both = (*kept[:2], *targets)
    # Torch resizes the width of uint8 first, then the height, and rounds each to whole numbers.
    height = both if factors is None else (*kept[:2], targets[0], kept[3])
    for wanted in ((*kept[:3], targets[1]), height) if whole else (both,):
        pixels = graph.op(
            "Resize",
            pixels,
            constant(graph, [], torch.float32),
            *([constant(graph, [], torch.float32)] if factors is None else []),
            graph.op("Concat", *wanted, axis_i=0),
            antialias_i=1,
            coordinate_transformation_mode_s="half_pixel",
            cubic_coeff_a_f=-0.5,
            exclude_outside_i=1,
            mode_s="cubic" if "cubic" in mode else "linear",
        )
        if whole:
            rounded = graph.op("Floor", graph.op("Add", pixels, constant(graph, 0.5)))
            pixels = graph.op("Clip", rounded, constant(graph, 0.0), constant(graph, 255.0))
    return cast(graph, pixels, torch.uint8) if whole else pixels


def _one(graph: Graph, number: Value) -> Value:
    """Return a number as a vector."""
    import torch

    return graph.op("Reshape", number, constant(graph, [1], torch.int64))
