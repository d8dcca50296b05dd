"""Passes declared inputs to the arguments of a TorchScript module's `forward`.

Supports tensors, optional tensors, dictionaries of tensors, and tuples and lists of tensors and of tuples. Numbers and
texts are fixed values, which aren't inputs. Runs nothing except `forward`.
"""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.errors import StepError, UndeclaredError
from navigator.frameworks.declaration import in_model_order
from navigator.records import TensorSpec

# A torch object; the types of the package differ between supported versions.
_Torch = Any

Fixed = int | float | bool | str
"""The value of an argument that isn't a tensor."""

NUMBERS = ("int", "float", "bool", "str")
"""The kinds of parameters that take such a value."""

_CONTAINERS = ("list", "dict")

Layout = tuple["Layout", ...]
"""What a tuple holds; of a tensor, nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A parameter of `forward` in its schema.

    `kind` is tensor, list, dict, tuple, int, float, bool, str or other; `written` is its type in the schema, and
    `layout` that of a tuple, or of each item of a list.
    """

    name: str
    kind: str
    written: str
    layout: Layout = ()
    nullable: bool = False
    default: bool = False

    @property
    def count(self) -> int:
        """How many tensors a tuple has, or an item of a list."""
        return count(self.layout)

    @property
    def nested(self) -> bool:
        """Whether it holds tuples in a tuple or a list."""
        return any(self.layout) or (self.kind == "list" and bool(self.layout))

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs of a tensor or a tuple; those of others depend on what reads them."""
        if self.kind == "tensor":
            return [self.name]
        return [f"{self.name}__{index}" for index in range(self.count if self.kind == "tuple" else 0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """A parameter of `forward` with the names of the inputs, or the `fixed` value, that are passed to it.

    Without either, it's None.
    """

    parameter: Parameter
    inputs: tuple[str, ...] = ()
    fixed: Fixed | None = None

    def fill(self, tensors: Mapping[str, _Torch]) -> _Torch:
        """Return the value of the argument from tensors by input name."""
        values = [tensors[name] for name in self.inputs]
        if not values:
            return self.fixed
        if self.parameter.kind == "dict":
            return dict(zip(self.inputs, values, strict=True))
        left, layout = iter(values), self.parameter.layout
        if self.parameter.kind == "list":
            return [_nested(layout, left) for _ in range(len(values) // self.parameter.count)]
        return _nested(layout, left)


def parameters(module: _Torch) -> tuple[Parameter, ...]:
    """Return the parameters of `module.forward`, without the module itself."""
    return tuple(_parameter(argument) for argument in module.forward.schema.arguments[1:])


def bind(
    parameters: Sequence[Parameter], declared: Sequence[TensorSpec], given: Mapping[str, str] | None = None
) -> tuple[Argument, ...]:
    """Return what is passed to `parameters`, in the order of `forward`, except to those that keep a default.

    By name if the declared names are names of parameters; otherwise by position, in the order of
    `navigator.frameworks.declaration.in_model_order`. A list or dictionary of tensors takes the inputs that the other
    parameters don't; for a dictionary, the names are its keys.

    Args:
        parameters: those of `forward`.
        declared: the inputs.
        given: the values of parameters that aren't tensors, as text.

    Raises:
        StepError: the declared inputs or the values don't match the parameters.
    """
    values = fixed(parameters, given or {})
    refuse_unfillable(parameters, values)
    taken = _by_name(parameters, declared) or _by_position(parameters, declared)
    filled = sum(len(names) for names in taken.values())
    if filled != len(declared) or any(
        not _satisfied(each, taken[each.name]) for each in parameters if each.name not in values
    ):
        names = ", ".join(spec.name for spec in declared)
        raise StepError(
            f"inputs: {len(declared)} declared ({names}), but forward takes {describe(parameters)}",
            "declare one input for each tensor, with these names or in this order",
        )
    return tuple(
        Argument(parameter=each, inputs=taken[each.name], fixed=values.get(each.name))
        for each in parameters
        if taken[each.name] or each.name in values or not each.default
    )


def fixed(parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, Fixed]:
    """Return the values of parameters from their text.

    Raises:
        StepError: there's no such parameter, it takes a tensor, or the text isn't of its type.
    """
    takers = {each.name: each for each in parameters if each.kind in NUMBERS}
    for name in given:
        if name not in takers:
            raise StepError(
                f"arguments: forward has no argument {name!r} for a number or a text: it takes {describe(parameters)}",
                f"remove it from arguments{f'; it has {describe(list(takers.values()))}' if takers else ''}",
            )
    return {name: _value(takers[name], text) for name, text in given.items()}


def refuse_unfillable(parameters: Sequence[Parameter], values: Collection[str] = ()) -> None:
    """Raise `StepError` if no tensors are taken, or one of `parameters` is required, takes none, and has no value."""
    if parameters and all(each.kind in ("other", *NUMBERS) for each in parameters):
        raise StepError(
            f"forward takes {describe(parameters)}, but no tensor, which all inputs of a converted model are",
            "script the part of the model behind it, which takes tensors",
        )
    missing = [each for each in parameters if not (each.default or each.nullable or each.name in values)]
    unfit = [each for each in missing if each.kind == "other"]
    if unfit:
        raise StepError(
            f"forward takes {describe(unfit)}, but inputs are tensors, and arguments are numbers or text",
            "give it a default value, or script a wrapper that takes only tensors and numbers",
        )
    numbers = [each for each in missing if each.kind in NUMBERS]
    if numbers:
        block = ", ".join(f"{each.name}: {_EXAMPLES[each.kind]}" for each in numbers)
        raise UndeclaredError(
            f"forward takes {describe(numbers)}, whose values aren't known",
            f"set them, with your values: `arguments: {{{block}}}`; they're fixed in converted models",
        )


def call(module: _Torch, arguments: Sequence[Argument], tensors: Mapping[str, _Torch]) -> _Torch:
    """Call `module` with tensors by input name."""
    return module(**{each.parameter.name: each.fill(tensors) for each in arguments})


def describe(parameters: Sequence[Parameter]) -> str:
    """Return parameters for a message: `ids: Tensor, mask: Optional[Tensor]`."""
    return ", ".join(f"{each.name}: {each.written}" for each in parameters) or "nothing"


_EXAMPLES = {"int": "1", "float": "1.0", "bool": "true", "str": "text"}
_BOOLS = {"true": True, "false": False}


def _value(parameter: Parameter, text: str) -> Fixed:
    try:
        match parameter.kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return _BOOLS[text.lower()]
            case _:
                return text
    except (ValueError, KeyError) as error:
        raise StepError(
            f"arguments: {parameter.name} is {parameter.written}, not {text!r}",
            f"set, with your value: `arguments: {{{parameter.name}: {_EXAMPLES[parameter.kind]}}}`",
        ) from error


def _parameter(argument: _Torch) -> Parameter:
    written = str(argument.type)
    inner = written.removeprefix("Optional[").removesuffix("]") if written.startswith("Optional[") else written
    kind, layout = _kind(inner)
    return Parameter(
        name=argument.name,
        kind=kind,
        written=written,
        layout=layout,
        nullable=inner != written,
        default=argument.has_default_value(),
    )


def _kind(written: str) -> tuple[str, Layout]:
    """Return the kind and the layout of a type; see `Parameter`."""
    try:
        node = ast.parse(written, mode="eval").body
    except SyntaxError:
        return "other", ()
    match node:
        case ast.Name(id=name) if name in NUMBERS:
            return name, ()
        case ast.Subscript(value=ast.Name(id="List"), slice=item) if (layout := _layout(item)) is not None:
            return "list", layout
        case ast.Subscript(
            value=ast.Name(id="Dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), ast.Name(id="Tensor")])
        ):
            return "dict", ()
    layout = _layout(node)
    return ("other", ()) if layout is None else ("tuple" if layout else "tensor", layout)


def _layout(node: ast.expr) -> Layout | None:
    """Return the layout of a tensor or a tuple, None for what holds anything else."""
    match node:
        case ast.Name(id="Tensor"):
            return ()
        case ast.Subscript(value=ast.Name(id="Tuple"), slice=inner):
            items = [_layout(each) for each in (inner.elts if isinstance(inner, ast.Tuple) else [inner])]
            found = tuple(each for each in items if each is not None)
            return found if found and len(found) == len(items) else None
        case _:
            return None


def count(layout: Layout) -> int:
    """Return how many tensors a tuple has, or one."""
    return sum(map(count, layout)) if layout else 1


def _nested(layout: Layout, values: Iterator[_Torch]) -> _Torch:
    """Return the next of `values`, or as many as a tuple holds."""
    return tuple(_nested(each, values) for each in layout) if layout else next(values)


def _by_name(parameters: Sequence[Parameter], declared: Sequence[TensorSpec]) -> dict[str, tuple[str, ...]] | None:
    """Return the inputs of each parameter by name, or None if the names don't match."""
    plain = {each.name for each in parameters if each.kind == "tensor"}
    needed = {each.name for each in parameters if each.kind == "tensor" and not (each.default or each.nullable)}
    container = next((each.name for each in parameters if each.kind in _CONTAINERS), None)
    names = {spec.name for spec in declared}
    if not names <= plain and (container is None or not needed <= names):
        return None
    taken: dict[str, tuple[str, ...]] = {
        each.name: (each.name,) if each.name in names & plain else () for each in parameters
    }
    if container is not None:
        rest = [spec for spec in declared if spec.name not in plain]
        taken[container] = tuple(spec.name for spec in in_model_order(rest, ()))
    return taken


def _by_position(parameters: Sequence[Parameter], declared: Sequence[TensorSpec]) -> dict[str, tuple[str, ...]]:
    """Return the inputs of each parameter by position; a list or dictionary leaves enough for those after it."""
    queue = [spec.name for spec in in_model_order(declared, ())]
    taken: dict[str, tuple[str, ...]] = {}
    for index, each in enumerate(parameters):
        own = 0 if each.kind in ("other", *NUMBERS) else 1 if each.kind == "tensor" else each.count
        if each.kind in _CONTAINERS:
            later = (other for other in parameters[index + 1 :] if not (other.default or other.nullable))
            own = max(0, len(queue) - sum(other.count for other in later))
        taken[each.name], queue = tuple(queue[:own]), queue[own:]
    return taken


def _satisfied(parameter: Parameter, inputs: tuple[str, ...]) -> bool:
    if not inputs:
        return parameter.default or parameter.nullable
    whole = len(inputs) % parameter.count == 0
    return whole and (parameter.kind in _CONTAINERS or len(inputs) == parameter.count)
