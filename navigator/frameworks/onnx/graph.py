"""ONNX graphs in memory as precision steps need them: one plain form, the types of all tensors, sessions.

Knows nothing of precisions; `navigator.frameworks.onnx.fp16` and `onnx_int8` rewrite what this prepares.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.weights import Proto

FLOAT, HALF = "tensor(float)", "tensor(float16)"
DEFAULT_DOMAINS = ("", "ai.onnx")

# Initializers over this are given to ONNX Runtime as inputs where it only has to tell types; shapes are far smaller.
_LARGE_TENSOR_BYTES = 65536

# Since this version of the file format initializers need not be inputs too.
_FREE_INITIALIZERS_IR = 4

_CONSTANT_KINDS = ("value", "value_float", "value_floats")


def prepare(model: Proto) -> Proto:
    """Return `model` in the form that the precision steps rewrite; `model` itself may change.

    Functions are inlined, float32 constants of the main graph are initializers, and no initializer is an input too.
    """
    import onnx
    import onnx.inliner

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    nodes = []
    for node in graph.node:
        constant = _constant(node)
        if constant is None:
            nodes.append(node)
        else:
            graph.initializer.append(constant)
    replace(graph.node, nodes)
    names = {tensor.name for tensor in graph.initializer}
    replace(graph.input, [value for value in graph.input if value.name not in names])
    model.ir_version = max(model.ir_version, _FREE_INITIALIZERS_IR)
    return model


def replace(field: Any, messages: Iterable[Proto]) -> None:
    """Put copies of `messages` into a repeated `field`, which some of them may come from."""
    copies = []
    for message in messages:
        copy = type(message)()
        copy.CopyFrom(message)
        copies.append(copy)
    del field[:]
    field.extend(copies)


def subgraphs(node: Proto) -> Iterator[Proto]:
    """Yield the graphs that `node` holds: branches and loop bodies."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(node: Proto) -> set[str]:
    """Return the names that the graphs in `node` read from around it."""
    names: set[str] = set()
    for graph in subgraphs(node):
        own = {each.name for each in (*graph.input, *graph.initializer)}
        read = {value.name for value in graph.output}
        for inner in graph.node:
            own |= set(inner.output)
            read |= set(inner.input) | captured(inner)
        names |= read - own
    return names - {""}


def describe(node: Proto) -> str:
    """Return how a sentence names `node`; unnamed nodes go by their first output."""
    return f"{node.op_type} '{node.name}'" if node.name else f"{node.op_type} of '{node.output[0]}'"


def free_suffix(graph: Proto, wanted: str) -> str:
    """Return `wanted`, prolonged until no name in `graph` ends in it."""
    names = {each.name for each in (*graph.input, *graph.output, *graph.initializer)}
    names |= {name for node in graph.node for name in (*node.input, *node.output, *captured(node))}
    while any(name.endswith(wanted) for name in names):
        wanted += "_"
    return wanted


def opset(model: Proto, domain: str) -> int:
    """Return the opset of `domain` that `model` imports, 1 where it says none."""
    wanted = DEFAULT_DOMAINS if domain in DEFAULT_DOMAINS else (domain,)
    return next((int(entry.version) for entry in model.opset_import if entry.domain in wanted), 1)


def types(model: Proto, directory: Path) -> dict[str, str]:
    """Return the type of every tensor of the main graph, e.g. `tensor(float)`, as ONNX Runtime finds it.

    ONNX Runtime knows more operators than `onnx.shape_inference` and is what verifies the model later.

    Args:
        model: a prepared model, with or without its external data.
        directory: where its external data lies.

    Raises:
        StepError: ONNX Runtime cannot load it.
    """
    import onnx

    light = _copy_without_initializers(model)
    found = {}
    for tensor in model.graph.initializer:
        found[tensor.name] = f"tensor({_type_name(tensor.data_type)})"
        if onnx_weights.size_bytes(tensor) > _LARGE_TENSOR_BYTES:
            light.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            light.graph.initializer.add().CopyFrom(tensor)
    known = {value.name for value in light.graph.output}
    for node in light.graph.node:
        for name in node.output:
            if name and name not in known:
                known.add(name)
                light.graph.output.append(onnx.ValueInfoProto(name=name))
    opened = session(light, directory)
    for value in (*opened.get_inputs(), *opened.get_outputs()):
        found.setdefault(value.name, value.type)
    return found


def session(model: Proto, directory: Path) -> Any:
    """Return an ONNX Runtime session of `model` as it is, without optimisation.

    Args:
        model: any model; weights beside the file stay there.
        directory: where its external data lies.

    Raises:
        StepError: ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(directory))
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StepError(f"ONNX Runtime cannot load the model: {onnx_file.sentence(error)}") from error


def values(tensor: Proto, directory: Path) -> np.ndarray:
    """Return the values of a stored tensor, from the file beside the model where they lie there.

    Raises:
        StepError: that file is missing, too short or outside `directory`.
    """
    import onnx

    try:
        array: np.ndarray = onnx.numpy_helper.to_array(tensor, str(directory))
    except Exception as error:
        raise _unreadable(tensor, error) from error
    return array


def bring_inside(tensor: Proto, directory: Path) -> None:
    """Put the values of a stored tensor, which lie in a file in `directory`, into the tensor itself.

    Raises:
        StepError: as `values`.
    """
    import onnx

    try:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(directory))
    except Exception as error:
        raise _unreadable(tensor, error) from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    tensor.ClearField("external_data")


def _unreadable(tensor: Proto, error: Exception) -> StepError:
    return StepError(
        f"the weights {tensor.name!r} cannot be read: {onnx_file.sentence(error)}",
        "save the model again with its external data beside it",
    )


def _copy_without_initializers(model: Proto) -> Proto:
    """Return a copy of `model` whose weights were never copied, nor what is known about shapes between the nodes."""
    import onnx

    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.graph.name = model.graph.name
    for field in ("node", "input", "output", "sparse_initializer"):
        getattr(light.graph, field).extend(getattr(model.graph, field))
    return light


def _constant(node: Proto) -> Proto | None:
    """Return the initializer that a Constant of float32 values can be, or None."""
    import onnx

    if (
        node.op_type != "Constant"
        or node.domain not in DEFAULT_DOMAINS
        or node.attribute[0].name not in _CONSTANT_KINDS
    ):
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
    else:
        held = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        tensor = onnx.numpy_helper.from_array(np.array(held, np.float32))
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    tensor.name = node.output[0]
    return tensor


def _type_name(data_type: int) -> str:
    """Return ONNX Runtime's word for an element type of ONNX."""
    import onnx

    name = onnx.TensorProto.DataType.Name(data_type).lower()
    return str(name)
