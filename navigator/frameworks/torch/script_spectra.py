"""Spectra of a TorchScript graph without complex numbers, of which torch's exporter knows nothing (2.13).

Their real and imaginary parts are pairs along a last axis. Remove it once a traced `torch.stft` is exported whose
magnitude is taken.
"""

from collections.abc import Callable, Mapping

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, insert, nodes

_STFT, _RETURNS_COMPLEX = "aten::stft", 7
_LIST = "prim::ListConstruct"

# What leaves pairs as they are, with the places of the arguments that are axes.
_MOVES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("aten::alias", "aten::clone", "aten::contiguous", "aten::detach"), ()),
    **dict.fromkeys(("aten::select", "aten::slice", "aten::squeeze", "aten::unsqueeze"), (1,)),
    "aten::transpose": (1, 2),
}
_SHAPES = frozenset({"aten::view", "aten::reshape"})


def pair_spectra(graph: Graph) -> None:
    """Compute pairs for spectra of which only real numbers are read in the end; others stay."""
    for node in [each for each in nodes(graph) if each.kind() == _STFT]:
        users = _users(node.output())
        if node.inputsAt(_RETURNS_COMPLEX).toIValue() and users is not None:
            node.replaceInput(_RETURNS_COMPLEX, constant(graph, node, False))
            _forget_type(node.output())
            for user in users:
                _pair(graph, user)


def _users(spectrum: Value) -> list[Node] | None:
    """Return all that reads a spectrum, also moved, None if something needs complex numbers."""
    found: list[Node] = []
    waiting = [spectrum]
    while waiting:
        for user in [use.user for use in waiting.pop().uses()]:
            found.append(user)
            if user.kind() in _PARTS:
                continue
            axes = [user.inputsAt(place).toIValue() for place in _MOVES.get(user.kind(), ())]
            shaped = user.kind() in _SHAPES and user.inputsAt(1).node().kind() in ("prim::Constant", _LIST)
            if not shaped and (user.kind() not in _MOVES or not all(isinstance(axis, int) for axis in axes)):
                return None
            waiting.append(user.output())
    return found


def _pair(graph: Graph, node: Node) -> None:
    """Let a node read pairs."""
    if node.kind() in _PARTS:
        node.output().replaceAllUsesWith(_PARTS[node.kind()](graph, node, node.inputsAt(0)))
        node.destroy()
        return
    if node.kind() in _SHAPES:
        sizes = node.inputsAt(1)
        known = [constant(graph, node, each) for each in sizes.toIValue() or ()]
        pairs = [*(known or sizes.node().inputs()), constant(graph, node, 2)]
        node.replaceInput(1, insert(graph, node, _LIST, pairs, sizes.type()))
    for place in _MOVES.get(node.kind(), ()):
        axis = node.inputsAt(place).toIValue()
        node.replaceInput(place, constant(graph, node, axis - 1 if axis < 0 else axis))
    _forget_type(node.output())


def _forget_type(value: Value) -> None:
    import torch

    value.setType(torch._C.TensorType.get())


def _one(graph: Graph, node: Node, pairs: Value, place: int) -> Value:
    return insert(graph, node, "aten::select", [pairs, constant(graph, node, -1), constant(graph, node, place)])


def _magnitude(graph: Graph, node: Node, pairs: Value) -> Value:
    arguments = [constant(graph, node, each) for each in (2, [-1], False, None)]
    return insert(graph, node, "aten::linalg_vector_norm", [pairs, *arguments])


def _angle(graph: Graph, node: Node, pairs: Value) -> Value:
    return insert(graph, node, "aten::atan2", [_one(graph, node, pairs, place) for place in (1, 0)])


_PARTS: Mapping[str, Callable[[Graph, Node, Value], Value]] = {
    "aten::real": lambda graph, node, pairs: _one(graph, node, pairs, 0),
    "aten::imag": lambda graph, node, pairs: _one(graph, node, pairs, 1),
    "aten::abs": _magnitude,
    "aten::angle": _angle,
    "aten::view_as_real": lambda _graph, _node, pairs: pairs,
}
