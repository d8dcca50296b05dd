"""A SavedModel's signature whose graph is changed before it runs."""

from collections.abc import Callable, Sequence
from typing import Any

from navigator.frameworks.memory import gigabytes, require_memory
from navigator.frameworks.tensorflow.signatures import OpenedSignature, weight_bytes

# TensorFlow's objects; the package ships no types that hold for every version.
_Tf = Any


def rewritten(
    opened: OpenedSignature, change: Callable[[_Tf], None], *, memory_factor: int, more: Sequence[str] = ()
) -> Callable[..., dict[str, _Tf]]:
    """Return what runs a signature after a change; it doesn't follow later changes of the variables.

    Args:
        opened: the signature.
        change: changes its graph, in which variables are constants, and functions are inlined.
        memory_factor: how many times the weights that takes.
        more: the names of inputs that the change adds; what runs takes tensors by the names of all inputs.

    Raises:
        StepError: there's no memory for it.
        Exception: of TensorFlow.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    weights = weight_bytes(opened)
    require_memory(weights * memory_factor, f"running a changed graph ({gigabytes(weights)} of weights)")
    frozen = convert_variables_to_constants_v2(opened.function, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def()
    change(graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    given, returned = (
        [wrapped.graph.get_tensor_by_name(name) for name in names]
        for names in (
            [*(tensor.name for tensor in frozen.inputs), *(f"{name}:0" for name in more)],
            [tensor.name for tensor in frozen.outputs],
        )
    )
    pruned = wrapped.prune(given, returned)
    # Both are in alphabetical order.
    inputs = [*(spec.name for spec in opened.signature.inputs), *more]

    def call(**tensors: _Tf) -> dict[str, _Tf]:
        results = pruned(*(tensors[name] for name in inputs))
        return {spec.name: result for spec, result in zip(opened.signature.outputs, results, strict=True)}

    return call


def insert_call(graph: _Tf, function: _Tf, name: str, inputs: Sequence[str]) -> None:
    """Add a node that calls a concrete function of tensors."""
    node = graph.node.add(name=name, input=inputs)
    let_call(graph, node, function)


def let_call(graph: _Tf, node: _Tf, function: _Tf) -> None:
    """Let a node call a concrete function of tensors instead of what it does, with the same inputs."""
    graph.MergeFrom(type(graph)(library={"function": [function.function_def]}))
    given, returned = ([each.dtype.as_datatype_enum for each in sets] for sets in (function.inputs, function.outputs))
    node.op = "PartitionedCall"
    node.attr.clear()
    node.attr["Tin"].list.type.extend(given)
    node.attr["Tout"].list.type.extend(returned)
    node.attr["f"].func.name = function.function_def.signature.name
