"""Freezes a SavedModel's signature into one graph of constants, with the large weights kept separately.

Turns a loaded signature into the input of tf2onnx. Knows nothing about ONNX.

The usual way (`tf_loader.from_saved_model`) copies all weights six times as protobufs and passes them through
TensorFlow's graph optimizer, which can't improve them: 9 s and 3.2 GB for a ResNet-50, and a failure above 2 GiB.
Without the weights in the graph, this takes 0.7 s and 1.2 GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from navigator.frameworks.tensorflow.decomposed import decompose
from navigator.frameworks.tensorflow.signatures import OpenedSignature
from navigator.records import Signature

_Tf = Any

# Smaller constants stay in the graph: TensorFlow folds them (batch normalization) faster than tf2onnx.
_KEPT_IN_GRAPH_BYTES = 65536

_UPDATES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenGraph:
    """A graph of constants.

    Args:
        graph_def: TensorFlow's GraphDef; the constants named in `weights` are empty in it.
        weights: raw bytes of large constants by node name, as `tf2onnx.tfonnx.process_tf_graph` takes them.
        tables: keys and values of lookup tables by name, likewise.
        inputs: names in the signature by tensor of the graph.
        outputs: likewise; no tensor is both input and output, and none appears twice.
        signature: inputs and outputs of the SavedModel.
        dropped_updates: updates of variables in the graph, which a graph of constants can't contain.
    """

    graph_def: _Tf
    weights: dict[str, bytes]
    tables: Mapping[Any, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    signature: Signature
    dropped_updates: tuple[str, ...] = ()


@dataclass(slots=True)
class _HeldWeights:
    content: dict[str, bytes] = field(default_factory=dict)
    dtype: dict[str, int] = field(default_factory=dict)


def freeze(opened: OpenedSignature, opset: int) -> FrozenGraph:
    """Freeze the signature for an opset.

    Its function can't run afterwards, since TensorFlow's tables are removed from it.

    Raises:
        Exception: any exception of TensorFlow.
    """
    import tensorflow as tf
    from tf2onnx import tf_loader

    function = opened.function
    explicit = function.inputs[: len(function.inputs) - len(function.captured_inputs)]
    inputs = {tensor.name: spec.name for tensor, spec in zip(explicit, opened.signature.inputs, strict=True)}
    with tf.device("/cpu:0"):
        # The last argument asks for the graph of constants as it is, without building a function from it again, which
        # loses lookup tables in tf2onnx 1.17.
        names = [tensor.name for tensor in function.outputs]
        graph_def, tables = tf_loader.from_trackable(
            opened.owner, function, list(inputs), names, not _has_tables(tf, function)
        )
        dropped = _drop_updates(graph_def)
        tf_loader.fix_freezing_errors_part2(graph_def)
        outputs = _own_outputs(graph_def, function.outputs, [spec.name for spec in opened.signature.outputs])
        held = _hold_weights(tf, graph_def)
        decompose(tf, graph_def, opset)
        with tf.Graph().as_default():
            graph_def = tf_loader.tf_optimize(list(inputs), list(outputs), graph_def)
    weights = _return_weights(graph_def, held)
    return FrozenGraph(
        graph_def=graph_def,
        weights=weights,
        tables=tables,
        inputs=inputs,
        outputs=outputs,
        signature=opened.signature,
        dropped_updates=dropped,
    )


def _has_tables(tf: _Tf, function: _Tf) -> bool:
    handles = {id(variable.handle) for variable in function.graph.variables}
    return any(captured.dtype == tf.resource and id(captured) not in handles for captured in function.captured_inputs)


def _drop_updates(graph_def: _Tf) -> tuple[str, ...]:
    """Remove assignments to variables, which have become constants, and return their names."""
    updates = {node.name for node in graph_def.node if node.op in _UPDATES}
    if not updates:
        return ()
    for node in graph_def.node:
        kept = [name for name in node.input if name.removeprefix("^") not in updates]
        if len(kept) < len(node.input):
            del node.input[:]
            node.input.extend(kept)
    for index in reversed(range(len(graph_def.node))):
        if graph_def.node[index].name in updates:
            del graph_def.node[index]
    return tuple(sorted(updates))


def _own_outputs(graph_def: _Tf, tensors: list[_Tf], names: list[str]) -> dict[str, str]:
    """Give every output its own tensor: a TF1 signature may name one tensor twice, or return an input."""
    taken = {node.name for node in graph_def.node}
    outputs = {}
    for index, (tensor, name) in enumerate(zip(tensors, names, strict=True)):
        own = f"signature_output_{index}"
        while own in taken:
            own += "_"
        node = graph_def.node.add(name=own, op="Identity", input=[tensor.name])
        node.attr["T"].type = tensor.dtype.as_datatype_enum
        outputs[f"{own}:0"] = name
    return outputs


def _hold_weights(tf: _Tf, graph_def: _Tf) -> _HeldWeights:
    """Replace large floating point constants in the graph by placeholders, and return their content.

    Not by empty constants, which TensorFlow would treat as zeros. Integers stay, since shapes may depend on them.
    """
    held = _HeldWeights()
    floating = {dtype.as_datatype_enum for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64)}
    for node in graph_def.node:
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor
        if tensor.dtype not in floating or len(tensor.tensor_content) <= _KEPT_IN_GRAPH_BYTES:
            continue
        held.content[node.name] = tensor.tensor_content
        held.dtype[node.name] = tensor.dtype
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
        del node.attr["value"]
    return held


def _return_weights(graph_def: _Tf, held: _HeldWeights) -> dict[str, bytes]:
    """Turn the placeholders into constants again, and return their content by node name.

    tf2onnx also looks up content by node name in the functions of the graph, so a name that is also there gets its
    content back.
    """
    in_functions = {node.name for function in graph_def.library.function for node in function.node_def}
    weights = {}
    for node in graph_def.node:
        if node.name not in held.content:
            continue
        tensor = node.attr["value"].tensor
        tensor.dtype = held.dtype[node.name]
        tensor.tensor_shape.CopyFrom(node.attr["shape"].shape)
        node.op = "Const"
        del node.attr["shape"]
        content = held.content.pop(node.name)
        if node.name in in_functions:
            tensor.tensor_content = content
        else:
            weights[node.name] = content
    return weights
