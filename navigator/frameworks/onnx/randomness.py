"""The operators of an ONNX model that draw random numbers."""

from collections.abc import Iterator

from navigator.frameworks.onnx.weights import Proto, graphs

# https://onnx.ai/onnx/operators
_DRAWING = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def random_operations(model: Proto) -> tuple[str, ...]:
    """Return the names of the operators that draw random numbers; a Dropout only if it's in training mode."""
    return tuple(sorted(set(_drawing(model))))


def _drawing(model: Proto) -> Iterator[str]:
    for graph in graphs(model):
        for node in graph.node:
            if node.op_type in _DRAWING:
                yield node.op_type
            # The third input is `training_mode`, since opset 12; exporters leave it out or write a constant.
            elif node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
                yield "Dropout"
