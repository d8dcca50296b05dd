"""The operations of a SavedModel's signature that draw random numbers."""

from typing import Any

# Operations whose names don't say it; all others have "Random" in theirs.
_DRAWING = frozenset(
    {"Multinomial", "ParameterizedTruncatedNormal", "RngReadAndSkip", "StatefulStandardNormalV2", "TruncatedNormal"}
)


def operations(function: Any) -> tuple[Any, ...]:
    """Return the operations of a concrete function and of all that it calls."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return tuple(nodes)


def random_operations(function: Any) -> tuple[str, ...]:
    """Return the types of the operations of a concrete function, and of all that it calls, that draw random numbers."""
    nodes = operations(function)
    return tuple(sorted({node.op for node in nodes if "Random" in node.op or node.op in _DRAWING}))
