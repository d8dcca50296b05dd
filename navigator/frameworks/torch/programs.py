"""What a program of torch.export says of its inputs and outputs: names, dtypes, sizes and the ranges of its axes."""

from collections.abc import Iterator, Sequence
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.torch import values as torch_values
from navigator.records import AxisSpec, Json, TensorSpec

# A torch object; the types of the package differ between supported versions.
_Torch = Any


def slots(program: _Torch) -> Iterator[tuple[str, Json]]:
    """Yield the flat inputs of the program: (placeholder, None) for a tensor, ("", value) for a constant.

    Raises:
        StepError: one is a number.
    """
    from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(spec.arg, TensorArgument):
            yield spec.arg.name, None
        elif isinstance(spec.arg, ConstantArgument):
            yield "", spec.arg.value
        else:
            raise StepError(
                f"input {spec.arg.name} of the program is a number, not a tensor",
                "export the model with a tensor instead",
            )


def outputs(program: _Torch) -> list[TensorSpec]:
    """Return the outputs of the program, named by the keys of a dictionary, or else `output__<index>`.

    Raises:
        StepError: one is a number, or there is none.
    """
    from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
    from torch.utils import _pytree

    arguments = [spec.arg for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    present = [each for each in arguments if not (isinstance(each, ConstantArgument) and each.value is None)]
    # The value that the program returns, with names of nodes instead of tensors.
    placed = [each if any(each is other for other in present) else None for each in arguments]
    named = torch_values.flatten(_pytree.tree_unflatten(placed, program.call_spec.out_spec))
    if len(named) != len(present) or any(leaf is not each for (_, leaf), each in zip(named, present, strict=True)):
        # A container class of the model, whose fields are unknown to torch.
        named = [(f"output__{index}", each) for index, each in enumerate(present)]
    for name, argument in named:
        if not isinstance(argument, TensorArgument):
            raise StepError(
                f"output {name} of the program is a number, not a tensor", "change the model to return only tensors"
            )
    if not named:
        raise StepError("the program returns no tensor")
    return [spec_of(program, name, argument.name) for name, argument in named]


def spec_of(program: _Torch, name: str, node: str) -> TensorSpec:
    """Return the spec of the tensor at `node` of the graph, named `name`.

    Raises:
        StepError: NumPy doesn't have its dtype.
    """
    value = values(program)[node]
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype == "bfloat16":
        raise StepError(f"{name} is bfloat16, which NumPy doesn't support", torch_values.BFLOAT16_HINT)
    return TensorSpec(name=name, shape=_sizes(value.shape), dtype=dtype)


def values(program: _Torch) -> dict[str, _Torch]:
    """Return the value of each node in the graph: a tensor without data."""
    return {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}


def _sizes(shape: Sequence[_Torch]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def axis(program: _Torch, size: _Torch) -> AxisSpec:
    """Return the size of an axis as an expression of the program's symbols, with their ranges."""
    if isinstance(size, int):
        return AxisSpec()
    ranges: dict[str, tuple[int, int | None]] = {}
    for symbol in size.node.expr.free_symbols:
        bounds = program.range_constraints.get(symbol)
        low, high = (0, float("inf")) if bounds is None else _bounds(bounds)
        # Without a maximum, a minimum of 2 is torch's own default, which isn't checked.
        smallest = 1 if high == float("inf") and low <= 2 else max(low, 1)
        ranges[str(symbol)] = (smallest, None if high == float("inf") else int(high))
    return AxisSpec(size=str(size.node.expr), ranges=ranges)


def limits(program: _Torch, size: _Torch) -> tuple[int, float]:
    """Return the range of an axis."""
    if isinstance(size, int):
        return size, size
    bounds = program.range_constraints.get(size.node.expr)
    if bounds is None:
        return 0, float("inf")
    return _bounds(bounds)


def _bounds(bounds: _Torch) -> tuple[int, float]:
    high = float(bounds.upper)
    return int(bounds.lower), (int(high) if high < 2**31 else float("inf"))
