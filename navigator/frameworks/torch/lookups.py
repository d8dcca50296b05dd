"""What a torch graph, of TorchScript or torch.export, tells about the numbers that it's given."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.frameworks.lookups import HALVES, INFINITE, NAN, NOT_FINITE, WHOLES, Lookups, sorting
from navigator.frameworks.torch.arguments import Argument
from navigator.frameworks.torch.script_nodes import nodes
from navigator.samples.constants import MOST

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# The result has the numbers of the first argument, or some of them.
_SAME = frozenset(
    f"aten::{name}"
    for name in (
        *("Float", "Int", "_to_copy", "alias", "clamp", "clone", "contiguous", "detach", "expand", "expand_as"),
        *("flatten", "index_select", "int", "item", "long", "masked_fill", "nan_to_num", "narrow", "permute", "repeat"),
        *("reshape", "select", "slice", "sort", "squeeze", "t", "to", "transpose", "type_as", "unflatten", "unsqueeze"),
        "view",
    )
)

# What depends on the sign of the first argument.
_SIGNS = frozenset(f"aten::{name}" for name in ("abs", "floor_divide", "fmod", "relu", "remainder", "sign"))

_DIVIDING = frozenset(f"aten::{name}" for name in ("floor_divide", "fmod", "remainder"))

_EQUAL = frozenset({"aten::eq", "aten::ne"})
_COMPARING = _EQUAL | {"aten::ge", "aten::gt", "aten::le", "aten::lt"}

# The results are among the numbers of the first argument, or between them.
_PICKING = frozenset({"aten::amax", "aten::amin", "aten::max", "aten::mean", "aten::min"})

_ARITHMETIC = {
    **{f"aten::{name}": name for name in ("add", "sub", "mul", "div")},
    "aten::rsub": "sub",
    "aten::true_divide": "div",
}
_CURVED = {f"aten::{each}": each for each in ("abs", "exp", "log", "sigmoid", "sqrt", "square", "tanh")}
_ROUNDING = {"aten::round": HALVES, **dict.fromkeys(("aten::ceil", "aten::floor", "aten::trunc"), WHOLES)}

# What is cut off at numbers of its own, or at its arguments, or begins again at them.
_LIMITS: Mapping[str, Sequence[float]] = {
    "aten::hardsigmoid": (-3, 3),
    "aten::hardswish": (-3, 3),
    "aten::relu6": (0, 6),
    **dict.fromkeys(
        (
            *("aten::clamp", "aten::clamp_max", "aten::clamp_min", "aten::fmod", "aten::hardtanh"),
            *("aten::remainder", "aten::threshold"),
        ),
        (),
    ),
}

_SQUARE = 2

_TESTS = {
    **dict.fromkeys(("aten::isnan", "aten::nanmean", "aten::nanmedian", "aten::nanquantile", "aten::nansum"), NAN),
    "aten::isinf": INFINITE,
    **dict.fromkeys(("aten::isfinite", "aten::nan_to_num"), NOT_FINITE),
}

# Layers whose second argument is the state that they begin with, or a list of two.
_RECURRENT = frozenset(
    f"aten::{name}" for name in ("lstm", "lstm_cell", "gru", "gru_cell", "rnn_tanh", "rnn_tanh_cell")
)

_CASTS = frozenset({"aten::to", "aten::_to_copy"})

# torch.bool and others, as TorchScript writes them.
_BOOL, _NARROW = 11, {3: "int32", 6: "float32"}


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor of a graph: what it's known by, its shape, () if that is unknown, and its name if it is a weight.

    `numbers` are those of a weight that has few.
    """

    key: Hashable
    shape: Sequence[Any] = ()
    name: str = ""
    numbers: Sequence[float] = ()


def of_script(module: _Torch, arguments: Sequence[Argument]) -> Lookups:
    """Return what a TorchScript module reads from its inputs; tensors in lists are left out."""
    graph = module.inlined_graph
    own, *values = graph.inputs()
    names = [each.name for each in module.forward.schema.arguments[1:]]
    tensors = [each for each in arguments if each.parameter.kind == "tensor" and each.inputs]
    taken = {each.parameter.name: each.inputs[0] for each in tensors}
    origins: dict[Hashable, str] = {
        value.debugName(): taken[name] for name, value in zip(names, values, strict=True) if name in taken
    }
    lookups = Lookups(origins=origins)

    def argument(value: _Torch) -> Any:
        if value.node().kind() == "prim::ListConstruct":
            return [argument(each) for each in value.node().inputs()]
        held = attribute(value, own, module) if value.node().kind() == "prim::GetAttr" else value.toIValue()
        if hasattr(held, "shape"):
            return _weight(held, value.debugName(), path(value, own) or "a constant")
        return held if isinstance(held, int | float | bool) else _Value(value.debugName())

    for node in nodes(graph):
        outputs = [each.debugName() for each in node.outputs()]
        if node.kind() == "prim::If":
            branches = [[each.debugName() for each in block.outputs()] for block in node.blocks()]
            for output, *values in zip(outputs, *branches, strict=True):
                lookups.chosen(values, output)
        _read(node.kind(), [argument(each) for each in node.inputs()], outputs[0] if outputs else "", lookups)
    return lookups


def of_program(program: _Torch, inputs: Mapping[str, str]) -> Lookups:
    """Return what a torch.export program reads from its inputs.

    Args:
        program: the program.
        inputs: the names of its inputs by those of their placeholders.
    """
    import torch

    signature = program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    held = {**program.state_dict, **program.constants}
    lookups = Lookups(origins=dict[Hashable, str](inputs.items()))
    types = {torch.bool: _BOOL, torch.int32: 3, torch.float32: 6}

    def argument(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [argument(each) for each in value]
        if not isinstance(value, torch.fx.Node):
            return types.get(value, value) if isinstance(value, torch.dtype) else value
        name = weights.get(value.name, lifted.get(value.name, ""))
        if name in held:
            return _weight(held[name], value.name, name)
        return _Value(value.name, tuple(getattr(value.meta.get("val"), "shape", ())), value.name)

    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None:
            keywords = [argument(each) for each in node.kwargs.values()]
            _read(schema.name, [argument(each) for each in node.args], node.name, lookups, keywords)
    return lookups


def _weight(tensor: _Torch, key: Hashable, name: str) -> _Value | float:
    """Return what a weight or a constant is known by, or its number: traces write `x * 2` with a tensor."""
    real = not (tensor.is_complex() or tensor.is_quantized or tensor.is_sparse or tensor.is_meta)
    numbers = tensor.flatten().tolist() if real and tensor.numel() <= MOST else ()
    return _Value(key, tuple(tensor.shape), name, numbers) if tensor.dim() or not numbers else numbers[0]


def sorting_in_script(module: _Torch) -> tuple[str, ...]:
    """Return the operations of a TorchScript module that choose among equal values as they like."""
    return sorting(node.kind() for node in nodes(module.inlined_graph))


def sorting_in_program(program: _Torch) -> tuple[str, ...]:
    """Return the operations of a torch.export program that choose among equal values as they like."""
    return sorting(str(node.target) for node in program.graph.nodes if node.op == "call_function")


def _read(
    kind: str, arguments: Sequence[Any], result: Hashable, lookups: Lookups, keywords: Sequence[Any] = ()
) -> None:
    """Note one operation; `arguments` are values, lists of them, and constants, in the order of its schema."""
    first, second, third = (*arguments, None, None, None)[:3]
    if (kind in _SAME or kind == "prim::unchecked_cast") and isinstance(first, _Value):
        lookups.same(first.key, result, limited=kind == "aten::clamp")
    # A third argument of div is how to round, and of add and sub a factor.
    rounds = kind == "aten::div" and (third is not None or bool(keywords))
    if isinstance(first, _Value) and (rounds or kind in _SIGNS):
        lookups.sign(first.key)
    if isinstance(second, _Value) and (rounds or kind in _DIVIDING):
        lookups.divisor(second.key)
    _read_line(kind.removesuffix("_"), first, second, third, result, lookups, rounds=rounds)
    if kind == "aten::where":
        lookups.chosen([each.key for each in (second, third) if isinstance(each, _Value)], result)
    if kind in _COMPARING and isinstance(first, _Value):
        for number in _numbers(second):
            lookups.against(first.key, number, ordered=kind not in _EQUAL)
    if kind in ("aten::bucketize", "aten::searchsorted"):
        value, edges = (first, second) if kind == "aten::bucketize" else (second, first)
        for number in _numbers(edges) if isinstance(value, _Value) else ():
            lookups.against(value.key, number, ordered=True)
    if kind in _TESTS and isinstance(first, _Value):
        lookups.tested(first.key, _TESTS[kind])
    # Of all numbers, only NaN isn't equal to itself.
    if kind in _EQUAL and isinstance(first, _Value) and isinstance(second, _Value) and first.key == second.key:
        lookups.tested(first.key, NAN)
    if kind in _CASTS and isinstance(first, _Value) and _BOOL in (second, *keywords):
        lookups.truth(first.key)
    if kind in _CASTS and isinstance(first, _Value):
        for each in (second, *keywords):
            lookups.narrow(first.key, _NARROW.get(each, "") if isinstance(each, int) else "")
    if kind in ("aten::embedding", "aten::embedding_bag"):
        _row(first, 0, second, lookups)
    elif kind in ("aten::index_select", "aten::gather") and isinstance(second, int):
        _row(first, second, third, lookups)
    elif kind == "aten::index" and isinstance(second, list):
        for axis, index in enumerate(second):
            _row(first, axis, index, lookups)
    elif kind == "aten::one_hot" and isinstance(first, _Value) and isinstance(second, int):
        lookups.row(first.key, second, "depth of one_hot")
    elif kind == "aten::arange" and isinstance(first, _Value):
        lookups.size(first.key, "arange")
    elif kind == "aten::_pack_padded_sequence" and isinstance(second, _Value):
        lookups.lengths(second.key)
    elif kind in _RECURRENT:
        states = second if isinstance(second, list) else [second]
        lookups.states(each.key for each in states if isinstance(each, _Value))


def _read_line(
    kind: str, first: Any, second: Any, third: Any, result: Hashable, lookups: Lookups, *, rounds: bool
) -> None:
    """Note what is computed from numbers and sizes with one other number, and where that is cut off or rounded."""
    if not isinstance(first, _Value):
        if kind in _ARITHMETIC and isinstance(second, _Value) and isinstance(first, int | float):
            lookups.arithmetic(_ARITHMETIC[kind], second.key, first, result, reversed_=True)
        return
    if kind in ("aten::size", "aten::sym_size", "prim::shape"):
        lookups.extents(result)
    elif kind in _PICKING or kind == "prim::NumToTensor":
        lookups.computed(first.key, result)
    elif kind in _CURVED:
        lookups.curved(first.key, _CURVED[kind], result)
    elif kind == "aten::mul" and isinstance(second, _Value):
        lookups.multiplied(first.key, second.key, result)
    elif kind == "aten::pow" and second == _SQUARE:
        lookups.curved(first.key, "square", result)
    elif kind == "aten::neg":
        lookups.computed(first.key, result, factor=-1)
    elif kind in _ARITHMETIC and isinstance(second, int | float) and not rounds:
        factor = third if isinstance(third, int | float) else 1
        lookups.arithmetic(_ARITHMETIC[kind], first.key, factor * second, result, reversed_=kind == "aten::rsub")
    elif kind in _ROUNDING:
        lookups.rounded(first.key, _ROUNDING[kind])
    elif kind in _LIMITS:
        for number in (*_LIMITS[kind], second, third):
            if isinstance(number, int | float):
                lookups.against(first.key, number, ordered=True)


def _numbers(value: Any) -> Sequence[float]:
    """Return the numbers that something is compared with, none if they're computed or many."""
    return value.numbers if isinstance(value, _Value) else [value] if isinstance(value, int | float) else ()


def _row(table: Any, axis: int, index: Any, lookups: Lookups) -> None:
    if isinstance(table, _Value) and isinstance(index, _Value) and -len(table.shape) <= axis < len(table.shape):
        count = table.shape[axis]
        lookups.row(index.key, count if isinstance(count, int) else 0, f"rows of {table.name}")


def path(value: _Torch, own: _Torch) -> str:
    """Return the name of a module's attribute, "" for what isn't one."""
    names: list[str] = []
    while value != own and value.node().kind() == "prim::GetAttr":
        names.insert(0, value.node().s("name"))
        value = next(iter(value.node().inputs()))
    return ".".join(names)


def attribute(value: _Torch, own: _Torch, module: _Torch) -> Any:
    """Return what a value that reads an attribute reads; None if that's unknown, as it is in TorchScript's classes."""
    held = module
    for name in path(value, own).split("."):
        try:
            held = getattr(held, name, None)
        except RuntimeError:  # torch returns an object only of a class that this process has
            return None
    return held
