"""The operations that a torch graph calls, with the arguments that are constants."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A torch object; the types of the package differ between supported versions.
_Torch = Any

COMPUTED = object()
"""Stands for an argument that isn't a constant."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `operation`, None if torch doesn't know it, under its `name` in the graph, with its arguments.

    `floats` if it's known to return these.
    """

    name: str
    operation: _Torch
    arguments: Mapping[str, Any]
    floats: bool = False


def of_script(module: _Torch) -> Iterator[Call]:
    """Yield the calls of a TorchScript module in evaluation mode, without the branches that it never takes."""
    return _in_nodes(module.inlined_graph.nodes())


def of_program(program: _Torch) -> Iterator[Call]:
    """Yield the calls of a torch.export program."""
    import torch

    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            schema = getattr(node.target, "_schema", None)
            if node.op != "call_function" or schema is None:
                continue
            names = [each.name for each in schema.arguments]
            defaults = {each.name: each.default_value for each in schema.arguments if each.has_default_value()}
            given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
            known = {key: COMPUTED if isinstance(value, torch.fx.Node) else value for key, value in given.items()}
            dtype = getattr(node.meta.get("val"), "dtype", None)
            floats = dtype is not None and dtype.is_floating_point
            yield Call(str(node.target), node.target, defaults | known, floats=floats)


def _in_nodes(nodes: Iterable[_Torch]) -> Iterator[Call]:
    import torch

    for node in nodes:
        blocks = list(node.blocks())
        if node.kind() == "prim::If" and (taken := _constant(next(node.inputs()))) is not COMPUTED:
            blocks = [blocks[0 if taken else 1]]
        for block in blocks:
            yield from _in_nodes(block.nodes())
        schema = node.schema()
        if schema == "(no schema)":
            continue
        parsed = torch._C.parse_schema(schema)
        namespace, _, name = node.kind().partition("::")
        packet = getattr(getattr(torch.ops, namespace), name, None)
        operation = getattr(packet, parsed.overload_name or "default", None)
        values = zip(parsed.arguments, node.inputs(), strict=False)
        yield Call(node.kind(), operation, {each.name: _constant(value) for each, value in values})


def _constant(value: _Torch) -> Any:
    """Return a constant, False for a module's own `training`."""
    node = value.node()
    if node.kind() == "prim::GetAttr" and node.s("name") == "training":
        return False
    if node.kind() == "prim::ListConstruct":
        items = [_constant(each) for each in node.inputs()]
        return COMPUTED if any(each is COMPUTED for each in items) else items
    return value.toIValue() if node.kind() == "prim::Constant" else COMPUTED
