"""ONNX models in memory as the precision steps rewrite them: read, brought into one plain form, typed, run, saved.

In memory a model is an `onnx_ir.Model`, whose weights stay where they are, in the file or beside it, until somebody
reads them. Knows nothing of precisions; `navigator.frameworks.onnx.fp16` and `int8` rewrite what this prepares.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import streamed
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.file import DEFAULT_DOMAINS
from navigator.frameworks.onnx.settings import new_session, session_settings
from navigator.frameworks.onnx.weights import Proto

if TYPE_CHECKING:
    import onnx_ir as ir

# ONNX Runtime gets initializers over this as inputs when it only infers types; the shapes that it reads are smaller.
_LARGE_TENSOR_BYTES = 65536

# Since this version of the file format, initializers need not be inputs too.
_FREE_INITIALIZERS_IR = 4

_Copy = TypeVar("_Copy")

_SAVE_AGAIN = "save the model again, with its external data in the same directory"


def read(path: Path) -> "ir.Model":
    """Return the model at `path` as it is; its large weights stay where they are.

    Raises:
        StepError: not an ONNX file, one that onnx-ir cannot represent, or onnx-ir isn't installed.
    """
    _require_onnx_ir()
    return _from_proto(onnx_file.light(path), path.parent)


def _require_onnx_ir() -> None:
    if importlib.util.find_spec("onnx_ir") is None:
        raise StepError(
            "fp16 and int8 ONNX files need onnx-ir, which isn't installed here",
            "TensorFlow up to 2.17 excludes it: choose a newer container_version, or set launch_mode to local",
        )


def prepare(path: Path) -> "ir.Model":
    """Return the model at `path` in the form that the precision steps rewrite.

    Functions are inlined, float32 constants of the main graph are initializers, and no initializer is an input too.

    Raises:
        StepError: as `read`.
    """
    _require_onnx_ir()
    import onnx.inliner
    from onnx_ir.passes import common

    proto = onnx_file.light(path)
    model = _from_proto(onnx.inliner.inline_local_functions(proto) if proto.functions else proto, path.parent)
    common.RemoveInitializersFromInputsPass()(model)
    for node in list(model.graph.all_nodes()):
        _lift_constant(node, model.graph)
    model.ir_version = max(model.ir_version, _FREE_INITIALIZERS_IR)
    return model


def infer_types(model: "ir.Model") -> None:
    """Set the type of every value of the main graph to what ONNX Runtime finds it to be.

    ONNX Runtime knows more operators than `onnx.shape_inference` and is what verifies the model later.

    Raises:
        StepError: ONNX Runtime cannot load the model.
    """
    import onnx_ir as ir

    for value in model.graph.initializers.values():
        value.type = ir.TensorType(value.const_value.dtype)
    light = model.clone()
    for value in list(light.graph.initializers.values()):
        if value.const_value.nbytes > _LARGE_TENSOR_BYTES:
            del light.graph.initializers[value.name]
            light.graph.inputs.append(value)
    forget_types(light.graph)
    made = [value for node in light.graph for value in node.outputs]
    light.graph.outputs.extend(value for value in made if value.name and not value.is_graph_output())
    values = ir.convenience.create_value_mapping(model.graph, include_subgraphs=False)
    for found in session(light).get_outputs():
        value = values[found.name]
        if not value.is_graph_output():
            value.type = _type(found.type)


def forget_types(graph: "ir.Graph") -> None:
    """Drop what `graph` says about the values between its nodes, which may be wrong: ONNX Runtime infers it anew."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.type = value.shape = None


def session(model: "ir.Model") -> Any:
    """Return an ONNX Runtime session of `model` as it is, without optimisation, for a few runs.

    Weights that are in the file or beside it stay there.

    Raises:
        StepError: ONNX Runtime cannot load it.
    """
    import onnx_ir as ir
    import onnxruntime

    options = session_settings(severity=4)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(*onnx_weights.UNPACKED)
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    for directory in {str(tensor.base_dir) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}:
        options.add_session_config_entry(onnx_weights.FOLDER, directory)
    try:
        content = ir.to_proto(model).SerializeToString()
        return new_session(content, options, ["CPUExecutionProvider"])
    except Exception as error:
        raise StepError(f"ONNX Runtime can't load the model: {onnx_file.sentence(error)}") from error


def save(model: "ir.Model", destination: Path) -> None:
    """Save `model` with all its weights; those over protobuf's limit go into `{destination.name}.data` beside it.

    Raises:
        StepError: the external data that `model` was read with cannot be read.
    """
    import onnx_ir as ir

    light = model.clone()
    large = [value for value in light.graph.initializers.values() if value.const_value.nbytes > _LARGE_TENSOR_BYTES]
    for value in large:
        del light.graph.initializers[value.name]
    try:
        proto = ir.to_proto(ir.external_data.load_to_model(light))
        streamed.save(proto, [_weight(value) for value in large], destination)
    except (OSError, ValueError) as error:
        raise StepError(f"the model's weights can't be read: {onnx_file.sentence(error)}", _SAVE_AGAIN) from error


def _weight(value: "ir.Value") -> streamed.Weight:
    import onnx

    held = value.const_value
    return streamed.Weight(
        tensor=onnx.TensorProto(name=value.name, data_type=held.dtype, dims=held.shape.numpy()),
        size_bytes=held.nbytes,
        values=lambda: memoryview(_released(held, held.tobytes())),
    )


def stored(value: "ir.Value") -> np.ndarray:
    """Return what an initializer holds, from the file beside the model if it is there.

    Raises:
        StepError: that file is missing, too short or outside the model's directory.
    """
    held = value.const_value
    try:
        return _released(held, np.array(held.numpy()))
    except (OSError, ValueError) as error:
        text = f"the weights {value.name!r} can't be read: {onnx_file.sentence(error)}"
        raise StepError(text, _SAVE_AGAIN) from error


def _released(tensor: "ir.TensorProtocol", copied: _Copy) -> _Copy:
    """Return what was copied from a tensor, and let go of its file: each keeps a descriptor open (onnx-ir 1.1)."""
    import onnx_ir as ir

    if isinstance(tensor, ir.ExternalTensor):
        tensor.release()
    return copied


def add_initializer(graph: "ir.Graph", name: str, array: np.ndarray) -> "ir.Value":
    """Store `array` in `graph` under `name`, which nothing else has."""
    import onnx_ir as ir

    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def twin(value: "ir.Value", dtype: "ir.DataType", name: str) -> "ir.Value":
    """Return a value like `value`, of another element type, that nothing makes yet."""
    import onnx_ir as ir

    kind = ir.TensorType(dtype, denotation=value.type.denotation)
    return ir.Value(
        name=name, type=kind, shape=value.shape, doc_string=value.doc_string, metadata_props=dict(value.metadata_props)
    )


def cast(value: "ir.Value", result: "ir.Value") -> "ir.Node":
    """Return a Cast of `value` to `result`, which belongs to no graph yet."""
    import onnx_ir as ir

    return ir.node("Cast", [value], {"to": result.dtype}, outputs=[result], name=f"{value.name}_to_{result.name}")


def is_tensor(value: "ir.Value | None", dtype: "ir.DataType") -> bool:
    """Return whether `value` is a tensor (no sequence, not left out) of `dtype`."""
    import onnx_ir as ir

    return value is not None and bool(value.type == ir.TensorType(dtype))


def holds_graph(node: "ir.Node") -> bool:
    """Return whether `node` has branches or a loop body."""
    import onnx_ir as ir

    return any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values())


def describe(node: "ir.Node") -> str:
    """Return how a sentence names `node`; unnamed nodes go by their first output."""
    return f"{node.op_type} '{node.name}'" if node.name else f"{node.op_type} of '{node.outputs[0].name}'"


def free_suffix(graph: "ir.Graph", wanted: str) -> str:
    """Return `wanted`, prolonged until no name in `graph` ends in it."""
    import onnx_ir as ir

    names = ir.convenience.create_value_mapping(graph)
    while any(name.endswith(wanted) for name in names):
        wanted += "_"
    return wanted


def opset(model: "ir.Model", domain: str) -> int:
    """Return the opset of `domain` that `model` imports, 1 if it names none."""
    same = DEFAULT_DOMAINS if domain in DEFAULT_DOMAINS else (domain,)
    return next((version for each, version in model.opset_imports.items() if each in same), 1)


def _from_proto(proto: Proto, directory: Path) -> "ir.Model":
    import onnx_ir as ir

    try:
        _fill_sparse(proto, directory)
        model = ir.from_proto(proto)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise StepError(f"onnx-ir {ir.__version__} can't represent the model: {onnx_file.sentence(cause)}") from error
    ir.external_data.set_base_dir(model.graph, directory)
    return model


def _fill_sparse(proto: Proto, directory: Path) -> None:
    """Store sparse initializers with their zeros: onnx-ir (1.1) drops the sparse ones without a word."""
    from onnx import numpy_helper

    for graph in onnx_weights.graphs(proto):
        for sparse in getattr(graph, "sparse_initializer", ()):
            values, indices = (numpy_helper.to_array(each, str(directory)) for each in (sparse.values, sparse.indices))
            dense = np.zeros(tuple(sparse.dims), values.dtype)
            dense[np.unravel_index(indices, dense.shape) if indices.ndim == 1 else tuple(indices.T)] = values
            graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
        if getattr(graph, "sparse_initializer", ()):
            del graph.sparse_initializer[:]


def _lift_constant(node: "ir.Node", main: "ir.Graph") -> None:
    """Make an initializer of a Constant of the main graph that is float32, or of any that lies beside the file."""
    import onnx_ir as ir

    if node.op_type != "Constant" or node.domain != "" or "sparse_value" in node.attributes:
        return
    (made,) = node.outputs
    tensor = ir.convenience.get_const_tensor(made)
    external = isinstance(tensor, ir.ExternalTensor)
    if external or (node.graph is main and tensor is not None and tensor.dtype == ir.DataType.FLOAT):
        graph = node.graph
        value = ir.val(made.name, const_value=tensor)
        made.replace_all_uses_with(value, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        graph.register_initializer(value)


def _type(words: str) -> "ir.TypeProtocol | None":
    """Return what ONNX Runtime calls e.g. `seq(tensor(float))`, None if onnx-ir has no such type."""
    import onnx_ir as ir

    kind, _, inner = words.removesuffix(")").partition("(")
    if kind == "tensor":
        return ir.TensorType(ir.DataType[inner.upper()])
    nested = _type(inner) if kind in ("seq", "optional") else None
    return nested and (ir.SequenceType if kind == "seq" else ir.OptionalType)(nested)
