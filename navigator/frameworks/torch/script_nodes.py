"""Reads and inserts nodes of TorchScript graphs."""

from collections.abc import Iterator, Sequence
from typing import Any

# Objects of torch; the types of the package differ between supported versions.
Graph = Any
Node = Any
Value = Any


def nodes(block: Any) -> Iterator[Node]:
    """Yield the nodes of a block or graph, those in branches and loops before the node that they're in."""
    for node in block.nodes():
        for inner in node.blocks():
            yield from nodes(inner)
        yield node


def insert(graph: Graph, before: Node, kind: str, inputs: Sequence[Value], type_: Any = None) -> Value:
    """Return the output of a new node, a tensor unless it has another type."""
    node = graph.create(kind, list(inputs), 1)
    node.insertBefore(before)
    if type_ is not None:
        node.output().setType(type_)
    return node.output()


def constant(graph: Graph, before: Node, value: Any) -> Value:
    """Return a constant."""
    with graph.insert_point_guard(before):
        return graph.insertConstant(value)


def number(value: Value, default: Any = 0) -> Any:
    """Return a constant whole number, `default` for what is computed."""
    held = value.toIValue()
    return held if isinstance(held, int) else default


def numbers(value: Value) -> tuple[int, ...]:
    """Return the whole numbers of a list that are constants."""
    return tuple(each for each in items(value) if isinstance(each, int))


def items(value: Value) -> list[Any]:
    """Return what a list has, None for what is computed."""
    held = value.toIValue()
    if isinstance(held, list):
        return held
    return [each.toIValue() for each in value.node().inputs()] if value.node().kind() == "prim::ListConstruct" else []
