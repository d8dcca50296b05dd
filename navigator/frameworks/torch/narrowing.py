"""Exports a program of torch.export again for narrower shapes: those that an engine is built for.

Torch-TensorRT (2.11) ignores the shapes that its Dynamo front end is given: an engine's profile is the range of the
program's own symbols, and its optimum their sizes at the export.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.torch import values as torch_values
from navigator.records import Json, ShapeProfile

# Objects of torch; its types differ between versions.
_Torch = Any

# torch.export takes a size of 0 or 1 for a constant.
_SMALLEST_EXAMPLE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Narrowed:
    """A program for the shapes of a profile.

    Args:
        program: the exported program.
        arguments: the tensors that it was exported with, in the optimum shapes.
        named: those that are passed by name.
        dynamic_shapes: the ranges, as torch.export takes them.
    """

    program: _Torch
    arguments: tuple[_Torch, ...]
    named: Mapping[str, _Torch]
    dynamic_shapes: tuple[_Torch, ...]


def narrowed(
    program: _Torch, slots: Sequence[tuple[str, Json]], names: Sequence[str], shapes: ShapeProfile
) -> Narrowed:
    """Export `program` again for `shapes`.

    Args:
        program: the program.
        slots: its flat inputs: (placeholder, None) for a tensor, ("", value) for a constant.
        names: the names of its tensors in `shapes`, in order.
        shapes: minimum, optimum and maximum shape of each of them.

    Raises:
        StepError: the program doesn't support these shapes, or fixes a size that is to be dynamic.
    """
    import torch
    from torch.utils import _pytree

    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    remaining = iter(names)
    named = {placeholder: next(remaining) for placeholder, _ in slots if placeholder}
    ranges = _ranges({placeholder: values[placeholder] for placeholder in named}, named, shapes)
    examples: list[_Torch] = []
    dynamic: list[_Torch] = []
    for placeholder, constant in slots:
        if not placeholder:
            examples.append(constant)
            dynamic.append(None)
            continue
        sizes = [_example(shapes, named[placeholder], axis) for axis in range(values[placeholder].dim())]
        examples.append(torch.zeros(sizes, dtype=values[placeholder].dtype))
        dynamic.append(ranges[placeholder])
    arguments, by_name = _pytree.tree_unflatten(examples, program.call_spec.in_spec)
    dynamic_arguments, dynamic_by_name = _pytree.tree_unflatten(dynamic, program.call_spec.in_spec)
    dynamic_shapes = (*dynamic_arguments, *dynamic_by_name.values())
    try:
        with torch.no_grad():
            made = torch.export.export(program.module(), arguments, kwargs=by_name, dynamic_shapes=dynamic_shapes)
    except Exception as error:
        raise StepError(
            f"the program can't be exported for the shapes of the engine: {torch_values.reason(error)}",
            "change min_shapes, opt_shapes and max_shapes to what the program supports",
        ) from error
    _require_dynamic(made, named, ranges)
    return Narrowed(program=made, arguments=tuple(arguments), named=by_name, dynamic_shapes=dynamic_shapes)


def _example(shapes: ShapeProfile, name: str, axis: int) -> int:
    low, usual, high = (each[name][axis] for each in (shapes.min, shapes.opt, shapes.max))
    return usual if low == high else max(usual, min(_SMALLEST_EXAMPLE, high))


def _ranges(
    values: Mapping[str, _Torch], named: Mapping[str, str], shapes: ShapeProfile
) -> dict[str, dict[int, _Torch]]:
    """Return the dynamic axes of each placeholder with their ranges; axes of one symbol have one dimension."""
    from torch.export import Dim

    symbols: dict[str, _Torch] = {}
    found: dict[str, dict[int, _Torch]] = {}
    for placeholder, value in values.items():
        axes = found.setdefault(placeholder, {})
        name = named[placeholder]
        for axis, size in enumerate(value.shape):
            low, high = shapes.min[name][axis], shapes.max[name][axis]
            if low == high or isinstance(size, int):
                continue
            expression = size.node.expr
            # What follows from other axes, such as `past + 1`, is for torch to find out again.
            axes[axis] = (
                symbols.setdefault(str(expression), Dim(str(expression), min=low, max=high))
                if expression.is_Symbol
                else Dim.AUTO
            )
    return found


def _require_dynamic(program: _Torch, named: Mapping[str, str], ranges: Mapping[str, Mapping[int, _Torch]]) -> None:
    made = [node for node in program.graph.nodes if node.name in set(program.graph_signature.user_inputs)]
    for node, (placeholder, axes) in zip(made, ranges.items(), strict=True):
        fixed = [axis for axis in axes if isinstance(node.meta["val"].shape[axis], int)]
        if fixed:
            raise StepError(
                f"input {named[placeholder]}: the program fixes the size of axis {fixed[0]} at "
                f"{node.meta['val'].shape[fixed[0]]}, which is to be dynamic",
                f"set one size for that axis in min_shapes, opt_shapes and max_shapes of {named[placeholder]}",
            )
