"""Guesses the numbers and texts that `forward` of a TorchScript module takes, from what its graph compares them with.

Each guess still has to run. `navigator.workers.probing` tries them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from navigator.frameworks.torch.arguments import NUMBERS, Fixed, Parameter
from navigator.frameworks.torch.script_nodes import nodes

# A torch object; the types of the package differ between supported versions.
_Torch = Any

_COMPARISONS = frozenset(f"aten::{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "remainder", "__contains__"))
_USUAL: Mapping[str, tuple[Fixed, ...]] = {
    "int": (1, 2, 0, 4, 8, 16),
    "float": (1.0, 0.5, 0.0),
    "bool": (False, True),
    "str": ("",),
}
_TYPES: Mapping[str, type[Fixed]] = {"int": int, "float": float, "bool": bool, "str": str}

# More are not worth their time: the likeliest come first.
_MOST_GUESSES = 16


def lacking(takes: Sequence[Parameter], given: Mapping[str, str]) -> list[Parameter]:
    """Return the parameters that need a number or a text and have neither a default nor a given one."""
    return [
        each for each in takes if each.kind in NUMBERS and not (each.default or each.nullable or each.name in given)
    ]


def guesses(module: _Torch, takes: Sequence[Parameter], given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield values, as text, of the arguments that aren't tensors: the given ones, and guesses where they're needed.

    Args:
        module: the TorchScript module.
        takes: the parameters of its `forward`.
        given: the user's values, which win.
    """
    wanted = lacking(takes, given)
    compared = _compared(module, takes)
    options = [[*dict.fromkeys((*compared[each.name], *_USUAL[each.kind]))] for each in wanted]
    places = itertools.product(*(range(len(each)) for each in options))
    for chosen in sorted(places, key=lambda each: (sum(each), each))[:_MOST_GUESSES]:
        found = {
            parameter.name: written(option[place])
            for parameter, option, place in zip(wanted, options, chosen, strict=True)
        }
        yield {**given, **found}


def written(value: Fixed) -> str:
    """Return a value as `navigator.frameworks.torch.arguments.fixed` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compared(module: _Torch, takes: Sequence[Parameter]) -> dict[str, list[Fixed]]:
    """Return the constants that the graph compares each argument with, in its order."""
    graph = module.inlined_graph
    values = list(graph.inputs())[1:]
    names = {value.debugName(): each for value, each in zip(values, takes, strict=True)}
    found: dict[str, list[Fixed]] = {each.name: [] for each in takes}
    for node in nodes(graph):
        if node.kind() not in _COMPARISONS:
            continue
        inputs = list(node.inputs())
        for one, other in ((inputs[0], inputs[-1]), (inputs[-1], inputs[0])):
            parameter = names.get(one.debugName())
            if parameter is not None and parameter.kind in NUMBERS:
                made = other.node()
                several = [*made.inputs()] if made.kind() == "prim::ListConstruct" else [other]
                held = [each.toIValue() for each in several]
                found[parameter.name] += [each for each in held if type(each) is _TYPES[parameter.kind]]
    return found
