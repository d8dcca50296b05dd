"""The weights that an ONNX file stores, and which of them its graph computes with. Reads one at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx.weights import Proto, graphs
from navigator.models.stored import Computed, Constants, Effect, Stored, from_file

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
        Stored(name, tuple(tensor.dims), partial(values, tensor, path.parent))
        for name, tensor in named(onnx_file.structure(path))
        if tensor.data_type in _floats()
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


def _floats() -> frozenset[int]:
    from onnx import TensorProto

    return frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


def values(tensor: Proto, directory: Path) -> np.ndarray:
    """Return the numbers of a tensor of a file in that directory.

    Raises:
        OSError: they're in another file, which can't be read.
    """
    from onnx import TensorProto, helper, numpy_helper

    if tensor.data_location != TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    place = {entry.key: entry.value for entry in tensor.external_data}
    name = place.get("location", "")
    if tensor.data_type in _floats() and Path(name).name == name and not (directory / name).is_symlink():
        # onnx copies it three times.
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
        return from_file(directory / name, int(place.get("offset", 0)), dtype, tensor.dims)
    copy = type(tensor).FromString(tensor.SerializeToString())
    return np.asarray(numpy_helper.to_array(copy, str(directory)))
