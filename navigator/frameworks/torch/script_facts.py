"""What a TorchScript graph asks of its own tensors and gets the same answer to in every run: ranks, types, devices.

`torch.nn` asks it before it takes the fast path of a layer, and writes its reasons in strings, for which torch's
TorchScript exporter has nothing (2.13). Remove it once a scripted `nn.TransformerEncoder` is exported without it.
"""

from collections.abc import Mapping
from typing import Any

from navigator.frameworks.torch.script_containers import resolve_containers
from navigator.frameworks.torch.script_layers import keep_padding, take_apart
from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, nodes
from navigator.frameworks.torch.script_types import forget_sizes, is_tensor, tell_types

# What holds wherever a source model is run: without gradients and autocast, on tensors that aren't nested.
_NEVER = frozenset({
    *("prim::is_nested", "prim::requires_grad", "prim::is_cuda", "prim::is_xpu", "prim::is_meta", "prim::is_sparse"),
    *("prim::is_quantized", "prim::is_mkldnn", "aten::is_grad_enabled", "aten::is_autocast_enabled"),
    "aten::is_autocast_cpu_enabled",
})  # fmt: skip
_IS_INSTANCE = "prim::isinstance"
_TOLD = frozenset({_IS_INSTANCE, "aten::dim", "prim::dtype", "prim::device", "aten::is_floating_point"})
_IS, _IS_NOT = "aten::__is__", "aten::__isnot__"
_RAISE = "prim::RaiseException"
_ASKED = frozenset({*_NEVER, *_TOLD, "aten::format", _RAISE})

# What returns another tensor than it's given.
_NEW = frozenset({"aten::transpose", "aten::linear", "aten::add", "aten::layer_norm"})

# Each decides the conditions of one layer of branches.
_MOST_ROUNDS = 50


def decide(graph: Graph, weights: Mapping[str, Any]) -> None:
    """Answer what an inlined graph asks, and keep the branches that are then taken.

    `weights` are the module's tensors by name.
    """
    if not any(node.kind() in _ASKED for node in nodes(graph)):
        return
    _type_weights(graph, weights)
    given = [(value, value.type()) for value in graph.inputs()]
    for value, _ in given:
        forget_sizes(value)
    _decide(graph)
    keep_padding(graph)
    _decide(graph)
    for value, kind in given:
        value.setType(kind)


def _type_weights(graph: Graph, weights: Mapping[str, Any]) -> None:
    import torch

    for node in nodes(graph):
        found = weights.get(_path(node)) if node.kind() == "prim::GetAttr" else None
        if isinstance(found, torch.Tensor):  # quantized layers hold packed weights
            node.output().setType(torch._C.TensorType.create_from_tensor(found))


def _path(node: Node) -> str:
    """Return the name of a weight in its module."""
    names: list[str] = []
    while node.kind() == "prim::GetAttr":
        names.insert(0, node.s("name"))
        node = node.inputsAt(0).node()
    return ".".join(names)


def _decide(graph: Graph) -> None:
    import torch

    progress: list[tuple[str, int | None, Any]] | None = None
    for _ in range(_MOST_ROUNDS):
        take_apart(graph)
        resolve_containers(graph)
        torch._C._jit_pass_lower_all_tuples(graph)
        tell_types(graph)
        for node in [*nodes(graph)]:
            answer = _answer(node)
            if answer is not None:
                node.output().replaceAllUsesWith(constant(graph, node, answer))
                node.destroy()
        _drop_refusals(graph)
        torch._C._jit_pass_constant_propagation(graph)
        torch._C._jit_pass_peephole_list_idioms(graph)
        torch._C._jit_pass_dce(graph)
        before, progress = progress, _progress(graph)
        if progress == before:
            return


def _progress(graph: Graph) -> list[tuple[str, int | None, Any]]:
    """Return what two rounds have in common if the second one changed nothing."""
    return [
        (node.kind(), *((each.type().dim(), each.type().dtype()) if is_tensor(each) else (None, None)))
        for node in nodes(graph)
        for each in node.outputs()
    ]


def _answer(node: Node) -> Any:
    """Return the constant that a node computes, None if it isn't known."""
    import torch

    kind = node.kind()
    if kind in _NEVER or _is_causal_hint(node):
        return False
    if kind in (_IS, _IS_NOT):
        same = _are_same(*node.inputs())
        return None if same is None else same == (kind == _IS)
    if kind not in _TOLD or not is_tensor(node.inputsAt(0)):
        return None
    asked = node.inputsAt(0).type()
    match kind:
        case "prim::device":
            return torch.device("cpu")  # where the exporter runs
        case "aten::dim":
            return asked.dim()
        case "prim::isinstance":
            return any(each.kind() == "TensorType" for each in node.tys("types")) or None
        case "prim::dtype":
            return asked.dtype()
        case _:
            return None if asked.dtype() is None else asked.dtype().is_floating_point


def _is_causal_hint(node: Node) -> bool:
    """Return whether a node asks if all of a mask is like the causal one, in whose place attention may be told so.

    The exporter must know that it isn't told, and attention gets the mask then.
    """
    kinds = ["aten::Bool", "aten::all", "aten::eq"]
    while kinds and node.kind() == kinds.pop(0):
        if not kinds:
            return any(_makes(each.node(), "aten::triu", "aten::full") for each in node.inputs())
        node = node.inputsAt(0).node()
    return False


def _makes(node: Node, kind: str, of: str) -> bool:
    return bool(node.kind() == kind and node.inputsAt(0).node().kind() == of)


def _are_same(one: Value, other: Value) -> bool | None:
    """Return whether two values are one tensor or both None, None if that isn't known."""
    kinds = [each.type().kind() for each in (one, other)]
    if kinds.count("NoneType") == 1 and "OptionalType" not in kinds:
        return False
    if not (is_tensor(one) and is_tensor(other)):
        return None
    if one.debugName() == other.debugName():
        return True
    return False if all(each.node().kind() in ("prim::Param", *_NEW) for each in (one, other)) else None


def _drop_refusals(graph: Graph) -> None:
    """Never take a branch that only raises an exception: the source model takes no inputs that come to it."""
    for node in [*nodes(graph)]:
        raising = [any(each.kind() == _RAISE for each in block.nodes()) for block in node.blocks()]
        if node.kind() == "prim::If" and any(raising) and not all(raising):
            node.replaceInput(0, constant(graph, node, raising[1]))
