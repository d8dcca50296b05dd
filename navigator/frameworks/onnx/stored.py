"""The weights that an ONNX file stores, and which of them its graph computes with. Reads one at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx.weights import Proto, floats, graphs, place, values
from navigator.models.stored import Computed, Constants, Effect, Stored

_EFFECTS = {
    **dict.fromkeys(("Expand", "Flatten", "Identity", "Reshape", "Slice", "Split"), Effect.MOVES),
    **dict.fromkeys(("Squeeze", "Transpose", "Unsqueeze"), Effect.MOVES),
    **dict.fromkeys(("Shape", "Size"), Effect.TELLS),
}


def weights(path: Path) -> list[Stored]:
    """Return the floats that the ONNX file at `path` stores: initializers and constants.

    Raises:
        StepError: it is not an ONNX file.
    """
    return [
        Stored(name, tuple(tensor.dims), partial(values, tensor, path), place(tensor, path))
        for name, tensor in named(onnx_file.structure(path))
        if tensor.data_type in floats()
    ]


def computed(path: Path) -> Computed:
    """Return the weights that the graph at `path` computes constants from.

    Raises:
        StepError: it is not an ONNX file.
    """
    model = onnx_file.structure(path)
    constants = Constants({name: frozenset({name}) for name, _ in named(model)})
    constants.origins[""] = frozenset()  # an input that's left out
    for graph in graphs(model):
        for node in graph.node:
            if node.op_type != "Constant" or node.output[0] not in constants.origins:
                constants.note(_EFFECTS.get(node.op_type, Effect.COMPUTES), node.input, node.output)
    return constants.computed()


def named(model: Proto) -> Iterator[tuple[str, Proto]]:
    """Yield each tensor of a model with the name of its value: initializers and constants."""
    for graph in graphs(model):
        for tensor in getattr(graph, "initializer", ()):
            yield tensor.name, tensor
        for node in graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.HasField("t"):
                    yield node.output[0], attribute.t
