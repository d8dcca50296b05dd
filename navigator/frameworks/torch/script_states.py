"""The state that a TorchScript module keeps in its attributes from call to call, as its graph shows it."""

from collections.abc import Iterator
from typing import Any

from navigator.errors import listed
from navigator.frameworks.torch.script_nodes import nodes

# A torch object; the types of the package differ between supported versions.
_Torch = Any


def advice(module: _Torch, file_name: str) -> str:
    """Return what to do about the state of a module, whose file has a name, or "" if its graph shows none."""
    attributes = _written(module)
    if not attributes:
        return ""
    kept = f"no converted model keeps {listed(attributes)} from call to call"
    parts = sorted(_stateless(module), key=lambda pair: -pair[1])
    if not parts:
        return f"{kept}: write a forward that takes and returns them"
    part, _ = parts[0]
    saved = f"{part.replace('.', '_').lstrip('_')}.pt"
    command = f"torch.jit.save(torch.jit.load({file_name!r}).{part}, {saved!r})"
    return f"{kept}: convert the part that keeps nothing, `{command}`"


def _written(module: _Torch) -> list[str]:
    """Return the names of the attributes that `forward` writes to."""
    names = [node.s("name") for node in nodes(module.inlined_graph) if node.kind() == "prim::SetAttr"]
    return [*dict.fromkeys(names)]


def _stateless(module: _Torch) -> Iterator[tuple[str, int]]:
    """Yield the modules in a module that keep no state but have weights, outer ones first, and how many weights."""
    for name, part in module.named_modules():
        weights = sum(each.numel() for each in part.parameters())
        if name and weights and all(each.isidentifier() for each in name.split(".")) and hasattr(part, "forward"):
            try:
                if not _written(part):
                    yield name, weights
            except RuntimeError:  # an interface, or a forward that was never compiled
                continue
