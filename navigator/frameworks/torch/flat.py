"""Wraps a TorchScript module so that it takes tensors by position and returns a tuple of tensors, as ONNX needs it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import Argument, call

# A torch object; the types of the package differ between supported versions.
_Torch = Any

_DTYPES = {bool: "torch.bool", int: "torch.int64", float: "torch.float64"}


def flattened(module: _Torch, arguments: Sequence[Argument], tensors: Mapping[str, _Torch]) -> _Torch:
    """Return a wrapper of `module` with the inputs `tensors`, by name, in their order.

    Traces it; if the module returns None or numbers, which torch can't trace (2.13), or takes tuples in lists, whose
    tensors become constants, scripts it.
    """
    import torch

    with torch.no_grad():
        value = call(module, arguments, {name: tensor.clone() for name, tensor in tensors.items()})
    leaves = list(_leaves(value, module.forward.schema.returns[0].type, "returned"))
    if all(isinstance(leaf, torch.Tensor) for leaf, _ in leaves) and not any(
        each.parameter.nested for each in arguments
    ):
        return _traced(module, arguments, tensors)
    outputs = [
        expression if isinstance(leaf, torch.Tensor) else f"torch.tensor({expression}, dtype={_DTYPES[type(leaf)]})"
        for leaf, expression in leaves
        if leaf is not None
    ]
    names = {name: f"input_{index}" for index, name in enumerate(tensors)}
    given = ", ".join(f"{each.parameter.name}={_written(each, names)}" for each in arguments)
    holder = torch.nn.Module()
    holder.inner = module
    wrapper = torch.jit.script(holder)
    wrapper.define(
        f"def forward(self, {', '.join(names.values())}):\n"
        f"    returned = self.inner({given})\n"
        f"    return ({', '.join(outputs)},)\n"
    )
    return wrapper.eval()


def _traced(module: _Torch, arguments: Sequence[Argument], tensors: Mapping[str, _Torch]) -> _Torch:
    import torch

    class Flat(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: _Torch) -> tuple[_Torch, ...]:
            returned = call(self.inner, arguments, dict(zip(tensors, values, strict=True)))
            return tuple(leaf for _, leaf in torch_values.flatten(returned))

    return torch.jit.trace(Flat().eval(), tuple(tensors.values()), check_trace=False)


def _leaves(value: _Torch, kind: _Torch, expression: str) -> Iterator[tuple[_Torch, str]]:
    """Yield what is in a returned value of the TorchScript type `kind`, None too, and how a script reads it."""
    if value is not None and kind.kind() == "OptionalType":
        yield from _leaves(value, kind.getElementType(), f"torch.jit._unwrap_optional({expression})")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, kind.getValueType(), f"{expression}[{key!r}]")
    elif isinstance(value, tuple):
        for index, (item, own) in enumerate(zip(value, kind.elements(), strict=True)):
            yield from _leaves(item, own, f"{expression}[{index}]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, kind.getElementType(), f"{expression}[{index}]")
    else:
        yield value, expression


def _written(argument: Argument, names: Mapping[str, str]) -> str:
    """Return the value of an argument as a script writes it."""
    return _text(argument.fill(names)) if argument.inputs else repr(argument.fixed)


def _text(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key!r}: {name}" for key, name in value.items()) + "}"
        case tuple():
            return f"({', '.join(map(_text, value))},)"
        case list():
            return f"[{', '.join(map(_text, value))}]"
        case _:
            return str(value)
