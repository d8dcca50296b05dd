"""The weights that a SavedModel stores, and which of them its graph computes with. Reads one at a time."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from navigator.frameworks.tensorflow.signatures import serving_graph
from navigator.models.stored import Computed, Constants, Effect, Stored

# TensorFlow's objects; the package ships no types that hold for every version.
_Tf = Any

# What a checkpoint writes after the path of an object.
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

_EFFECTS = {
    **dict.fromkeys(("BroadcastTo", "ExpandDims", "Identity"), Effect.MOVES),
    **dict.fromkeys(("Reshape", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice"), Effect.MOVES),
    **dict.fromkeys(("Transpose", "Unpack"), Effect.MOVES),
    **dict.fromkeys(("NoOp", "Rank", "Shape", "ShapeN", "Size", "VariableShape"), Effect.TELLS),
}

# What isn't a number of the model itself: its inputs, and variables before they're read.
_GIVEN = frozenset({"Placeholder", "PlaceholderWithDefault", "VarHandleOp", "VarIsInitializedOp"})

# Functions that save and restore variables, which no signature calls.
_SAVING = "__inference__traced_"


def weights(path: Path) -> list[Stored]:
    """Return the floats of a SavedModel: its variables by their paths in the checkpoint, and its graph's constants.

    Raises:
        StepError: it isn't a SavedModel.
    """
    return [*_variables(path), *_constants(path)]


def computed(path: Path) -> Computed:
    """Return the sizes of the variables and constants that the graph of a SavedModel computes constants from.

    Their names in the graph aren't those in the checkpoint.

    Raises:
        StepError: it isn't a SavedModel.
    """
    used: set[str | int] = set()
    for _, nodes in _graphs(path):
        constants = Constants()
        for node in _in_order(nodes):
            if node.op in ("Const", "ReadVariableOp"):
                size = _size(node)
                constants.origins[node.name] = frozenset() if size is None else frozenset({size})
            elif node.op not in _GIVEN:
                effect = _EFFECTS.get(node.op, Effect.COMPUTES)
                constants.note(effect, [_source(each) for each in node.input if each[0] != "^"], [node.name])
        used |= constants.used
    found = Constants(used=used).computed()
    return Computed(sizes=None) if found.sizes and min(found.sizes) < 0 else found


def _in_order(nodes: Sequence[_Tf]) -> Iterator[_Tf]:
    """Yield nodes after those that they read: a graph has them in any order."""
    named = {node.name: node for node in nodes}
    done: set[str] = set()
    for first in nodes:
        waiting = [first]
        while waiting:
            node = waiting[-1]
            before = [named[name] for each in node.input if (name := _source(each)) in named and name not in done]
            if node.name in done or not before:
                waiting.pop()
                if node.name not in done:
                    done.add(node.name)
                    yield node
            elif len(waiting) > len(named):
                return  # a loop of TensorFlow 1
            else:
                waiting += before


def _source(name: str) -> str:
    """Return the node of an input."""
    return name.removeprefix("^").partition(":")[0]


def _variables(path: Path) -> Iterator[Stored]:
    import tensorflow as tf

    prefix = path / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        types = reader.get_variable_to_dtype_map()
        for key, shape in reader.get_variable_to_shape_map().items():
            if types[key] in (tf.float16, tf.float32, tf.float64):
                yield Stored(key.removesuffix(_SUFFIX), tuple(shape), partial(reader.get_tensor, key))
    except (tf.errors.OpError, ValueError, RuntimeError):
        return


def _constants(path: Path) -> Iterator[Stored]:
    """Yield the constants of a frozen graph."""
    import tensorflow as tf

    for scope, nodes in _graphs(path):
        for node in nodes:
            tensor = node.attr["value"].tensor
            if node.op == "Const" and tensor.dtype in (tf.float16, tf.float32, tf.float64):
                shape = tuple(axis.size for axis in tensor.tensor_shape.dim)
                yield Stored(f"{scope}{node.name}", shape, partial(_array, tensor))


def _graphs(path: Path) -> Iterator[tuple[str, Sequence[_Tf]]]:
    """Yield the nodes of the graph and of its functions, with what to write before their names."""
    graph = serving_graph(path).graph_def
    yield "", graph.node
    for function in graph.library.function:
        if not function.signature.name.startswith(_SAVING):
            yield f"{function.signature.name}/", function.node_def


def _size(node: _Tf) -> int | None:
    """Return how many floats a variable or a constant has, None if it has others, -1 if that's unknown."""
    import tensorflow as tf

    floats = (tf.float16, tf.float32, tf.float64)
    if node.op == "Const":
        shape, dtype = node.attr["value"].tensor.tensor_shape, node.attr["value"].tensor.dtype
    else:
        shapes = node.attr["_output_shapes"].list.shape
        shape, dtype = shapes[0] if shapes else None, node.attr["dtype"].type
    if dtype not in floats:
        return None
    return -1 if shape is None or shape.unknown_rank else math.prod(axis.size for axis in shape.dim)


def _array(tensor: _Tf) -> np.ndarray:
    import tensorflow as tf

    return np.asarray(tf.make_ndarray(tensor))
