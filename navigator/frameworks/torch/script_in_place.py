"""Inputs that a TorchScript graph changes in place, as torch's TorchScript exporter takes them (2.13).

It loses what is written to a part of an input, such as `x[:, 0] = 0`, if the whole is changed in place afterwards:
`x.mul_(y)` then reads the input as it was. It loses nothing of a copy.

Remove it once such a module is exported right without it.
"""

from typing import Any

from navigator.frameworks.torch.script_nodes import Graph, Value
from navigator.frameworks.torch.script_types import is_tensor

# What returns a part of its first argument, through which that can be changed.
_PARTS = frozenset({"aten::select", "aten::slice"})


def copy_inputs(graph: Graph) -> None:
    """Let an inlined graph change copies of its inputs."""
    for value in graph.inputs():
        if is_tensor(value) and _is_changed(value):
            with graph.insert_point_guard(next(graph.nodes())):
                none = graph.insertConstant(None)
            copy = graph.create("aten::clone", [value, none], 1)
            copy.insertAfter(none.node())
            copy.output().setType(value.type())
            value.replaceAllUsesWith(copy.output())
            copy.replaceInput(0, value)


def _is_changed(value: Value) -> bool:
    """Return whether something changes a value in place, or a part of it."""
    users: list[Any] = [use.user for use in value.uses() if use.offset == 0]
    return any(
        (user.kind().endswith("_") and not user.kind().endswith("__"))
        or (user.kind() in _PARTS and _is_changed(user.output()))
        for user in users
    )
