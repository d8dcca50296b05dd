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
    """Return the operations of a concrete function, and of all that it calls, that draw random numbers.

    Each is its type, and the layer that it belongs to if its name says so: `RandomUniform in dropout_1`.
    """
    drawing = (node for node in operations(function) if node.op in _DRAWING or _says(node.op))
    return tuple(sorted({f"{node.op}{_layer(node.name)}" for node in drawing}))


def _says(operation: str) -> bool:
    # What only makes keys draws nothing.
    return "Random" in operation and "Get" not in operation


def _layer(name: str) -> str:
    """Return the layer of an operation: `random_flip` of `model/random_flip/stateless_random_uniform/RandomUniform`."""
    layer = name.split("/")[-3:-2]
    return f" in {layer[0]}" if layer else ""
