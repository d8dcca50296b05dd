"""The operations of torch models that draw random numbers, as torch itself tags them."""

from collections.abc import Iterable, Iterator
from typing import Any

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# Arguments that turn the drawing off: dropout in inference mode, attention and LSTM without dropout.
_SWITCHES = frozenset({"train", "training", "dropout", "dropout_p", "p"})


def of_script(module: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a TorchScript module in evaluation mode that draw random numbers."""
    return tuple(sorted(set(_in_nodes(module.inlined_graph.nodes()))))


def of_program(program: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a torch.export program that draw random numbers."""
    return tuple(sorted(set(_in_program(program))))


def _in_nodes(nodes: Iterable[_Torch]) -> Iterator[str]:
    import torch

    for node in nodes:
        blocks = list(node.blocks())
        if node.kind() == "prim::If" and (taken := _constant(next(node.inputs()))) is not None:
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
        values = {each.name: _constant(value) for each, value in zip(parsed.arguments, node.inputs(), strict=False)}
        if _draws(operation, values):
            yield node.kind()


def _constant(value: _Torch) -> _Torch:
    """Return a constant, False for a module's own `training`, None for what is computed."""
    node = value.node()
    return False if node.kind() == "prim::GetAttr" and node.s("name") == "training" else value.toIValue()


def _in_program(program: _Torch) -> Iterator[str]:
    import torch

    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            schema = getattr(node.target, "_schema", None)
            if node.op != "call_function" or schema is None:
                continue
            names = [each.name for each in schema.arguments]
            defaults = {each.name: each.default_value for each in schema.arguments if each.has_default_value()}
            if _draws(node.target, defaults | dict(zip(names, node.args, strict=False)) | dict(node.kwargs)):
                yield str(node.target)


def _draws(operation: _Torch, values: dict[str, _Torch]) -> bool:
    import torch

    if torch.Tag.nondeterministic_seeded not in getattr(operation, "tags", ()):
        return False
    # `train` of native_dropout may be None, which means True.
    return not any(name in _SWITCHES and isinstance(value, int | float) and not value for name, value in values.items())
