"""Converts a TensorFlow SavedModel to ONNX with tf2onnx.

`tensorflow.freeze` creates the graph for tf2onnx, `tensorflow.tf2onnx_patches` fixes tf2onnx, and `onnx.file` writes,
checks and raises opsets.

Calls the steps of `tf2onnx.convert` one by one (`process_tf_graph`, `optimize_graph`, `make_model`: the same in 1.16
and 1.17). This way, the weights can be kept apart from the graph, skipped operations are noticed, and the model is
loaded only once.
"""

import gc
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from navigator.converters.protocol import Container, Conversion, Variant
from navigator.errors import StepError, listed
from navigator.frameworks import opsets
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.memory import gigabytes, require_memory
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.frameworks.onnx import paddings
from navigator.frameworks.tensorflow.freeze import FrozenGraph, freeze
from navigator.frameworks.tensorflow.signatures import choose_signature, open_signature, reason, weight_bytes
from navigator.frameworks.tensorflow.tf2onnx_patches import (
    custom_op_handlers,
    unsupported_operations,
    weights_copied_once,
)
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, Signature, StepOptions

SOURCE = Format.TF_SAVEDMODEL
TARGET = Format.ONNX
DISTRIBUTIONS = ("tensorflow", "tf2onnx", "onnx")
# `import tf2onnx` alone doesn't import these modules.
PRELOAD = ("tensorflow", "tf2onnx.tf_loader", "tf2onnx.tfonnx", "tf2onnx.optimizer", "onnx")
NEEDS_SAMPLES = False
NEEDS_GPU = False
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

_Proto = Any

_LOWEST_OPSET = 7

# Peak memory after loading, by size of the weights. Measured: 4.0 with plain matrices of 2.26 GB, 4.2 with 0.54 GB.
_MEMORY_FACTOR = 5
_MEMORY_FLOOR_BYTES = 300_000_000

# Operations with a more specific remedy.
_NO_BFLOAT16 = "tf2onnx doesn't support bfloat16: save the model in float32 or float16 instead"

_HASHES = "Keras's Hashing and HashedCrossing hash text, which ONNX doesn't have: look numbers up or take them modulo"

_ADVICE = dict.fromkeys(("SparseCross", "StringToHashBucketFast", "StringToHashBucketStrong"), _HASHES)
_TEXT = ("String", "Regex", "AsString", "DecodeRaw", "Substr", "Unicode", "StaticRegex")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(StepOptions):
    """`opset` of the file to write; `signature_name` None for the choice of `choose_signature`."""

    opset: int = opsets.DEFAULT
    signature_name: str | None = None


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the export with the configuration's opset, or the default one."""
    opset = configuration.onnx_opset or opsets.DEFAULT
    options = Options(opset=opset, signature_name=model.signature_name)
    return Variant(segment=f"onnx_op{opset}", options=options, opset=opset)


def unavailable(host: Host) -> Unavailable | None:
    """Return why this machine can't run it, see `navigator.converters.protocol.Converter`."""
    return missing(DISTRIBUTIONS, "tensorflow", host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Convert one signature, or raise the opset of its ONNX file if there is one.

    Returns:
        `onnx_opset` as read back from the file, `exporter`, `signature_name`; and `dropped_updates`, the operations
        that change variables, if there are any: a graph of constants can't change them. Keeps unused inputs.

    Raises:
        StepError: the conversion failed, with a message for the user.
    """
    opset = conversion.options.opset
    if opset < _LOWEST_OPSET:
        raise StepError(
            f"tf2onnx can't write opset {opset}: it supports {_LOWEST_OPSET} and higher",
            f"set onnx_opsets to {_LOWEST_OPSET} or higher",
        )
    name = choose_signature(conversion.source, conversion.options.signature_name)
    export = partial(_export, conversion, name, opset)
    properties = onnx_opsets.raised_or_exported(conversion.raise_from, conversion.destination, opset, export)
    return properties.updated(Properties(signature_name=name))


def _export(conversion: Conversion[Options], name: str, opset: int) -> Properties:
    from tf2onnx.constants import OPSET_TO_IR_VERSION

    highest = max(OPSET_TO_IR_VERSION)
    destination = conversion.destination
    if opset <= highest:
        return _export_directly(conversion.source, name, destination, opset)
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        lower = Path(scratch) / destination.name
        properties = _export_directly(conversion.source, name, lower, highest)
        exporter = f"{properties.exporter}, {onnx_opsets.change(lower, destination, opset)}"
    return properties.updated(onnx_file.properties(destination, exporter))


def _export_directly(source: Path, name: str, destination: Path, opset: int) -> Properties:
    import tf2onnx

    frozen = _frozen(source, name, opset)
    gc.collect()  # frees the loaded model, and below tf2onnx's graph: their objects refer to each other
    model = _converted(frozen, opset, source.name)
    gc.collect()
    onnx_file.save(model, destination)
    del model
    gc.collect()
    try:
        onnx_file.check(destination)
    except StepError as error:
        # tf2onnx writes some of its operations, but not all.
        raise (StepError(error.message, _NO_BFLOAT16) if "bfloat16" in error.message else error) from error
    exporter = f"tf2onnx {tf2onnx.__version__}"
    onnx_file.require_opset(destination, opset, exporter)
    properties = onnx_file.properties(destination, exporter)
    return properties.updated(Properties(dropped_updates=tuple(frozen.dropped_updates)))


def _frozen(source: Path, name: str, opset: int) -> FrozenGraph:
    """Return the signature as a graph of constants, and free the loaded model."""
    opened = open_signature(source, name)
    unknown = [spec.name for spec in opened.signature.inputs if spec.shape is None]
    if unknown:
        raise StepError(
            f"the rank of {listed(unknown)} in signature {name!r} is unknown, so tf2onnx would write a scalar",
            "save a signature whose tf.TensorSpec has a shape, with None for a dynamic axis",
        )
    both = {spec.name for spec in opened.signature.inputs} & {spec.name for spec in opened.signature.outputs}
    if both:
        raise StepError(
            f"signature {name!r} has an input and an output with the same name: {listed(sorted(both))}",
            "save a signature that renames one of them; ONNX needs different names",
        )
    weights = weight_bytes(opened)
    require_memory(
        weights * _MEMORY_FACTOR + _MEMORY_FLOOR_BYTES,
        f"converting {source.name} to ONNX ({gigabytes(weights)} of weights)",
    )
    try:
        return freeze(opened, opset)
    except Exception as error:
        raise StepError(
            f"TensorFlow can't freeze signature {name!r} of {source}: {type(error).__name__}: {reason(error)}",
            "see the log for the full error; only signatures that read all of their variables directly can be frozen",
        ) from error


def _converted(frozen: FrozenGraph, opset: int, name: str) -> _Proto:
    """Return the ONNX model of a frozen graph.

    Raises:
        StepError: tf2onnx failed or skipped operations.
    """
    import tensorflow as tf
    from tf2onnx import optimizer

    with tf.device("/cpu:0"), tf.Graph().as_default() as graph, weights_copied_once():
        tf.import_graph_def(frozen.graph_def, name="")
        processed = _processed(graph, frozen, opset)
        try:
            optimized = optimizer.optimize_graph(processed, False)
        except Exception:
            # Without copies, a failing optimization leaves the graph invalid. Copying it for each one is slower.
            log.warning("tf2onnx's optimizer failed; converting again without the failing optimization", exc_info=True)
            optimized = optimizer.optimize_graph(_processed(graph, frozen, opset), True)
        frozen.weights.clear()
        del processed
        model = optimized.make_model(f"converted from {name}")
    _unlist_initializers(model)
    paddings.made_explicit(model)
    paddings.made_positive(model)
    _state_shapes(model, frozen.signature)
    return model


def _processed(graph: _Proto, frozen: FrozenGraph, opset: int) -> _Proto:
    from tf2onnx import tfonnx

    error: Exception | None = None
    processed = None
    with unsupported_operations() as unsupported:
        try:
            processed = tfonnx.process_tf_graph(
                graph,
                opset=opset,
                custom_op_handlers=custom_op_handlers(opset, frozen.tables),
                input_names=list(frozen.inputs),
                output_names=list(frozen.outputs),
                tensors_to_rename={**frozen.inputs, **frozen.outputs},
                const_node_values=frozen.weights,
                initialized_tables=frozen.tables,
            )
        except Exception as raised:  # noqa: BLE001 - of any type; often caused by unsupported operations
            error = raised
    if unsupported:
        raise StepError(_unsupported(unsupported, opset), _advice(unsupported, opset)) from error
    if error is not None:
        hint = "replace that part of the model; the log shows where it is"
        if "bfloat16" in str(error):
            hint = _NO_BFLOAT16
        raise StepError(f"tf2onnx can't convert the model to opset {opset}: {reason(error)}", hint) from error
    return processed


def _unsupported(found: Mapping[str, list[str]], opset: int) -> str:
    import tf2onnx

    operations = "; ".join(f"{operation} (in {_some(nodes)})" for operation, nodes in sorted(found.items()))
    return f"tf2onnx {tf2onnx.__version__} can't convert these TensorFlow operations to opset {opset}: {operations}"


def _some(nodes: list[str]) -> str:
    return ", ".join(nodes[:2]) + (f" and {len(nodes) - 2} more" if len(nodes) > 2 else "")


def _advice(found: Mapping[str, list[str]], opset: int) -> str:
    """Return what the user can do: use another opset, operation or model."""
    from tf2onnx.constants import OPSET_TO_IR_VERSION
    from tf2onnx.handler import tf_op

    for higher in range(opset + 1, max(OPSET_TO_IR_VERSION) + 1):
        if found.keys() <= {*tf_op.create_mapping(higher, None), *custom_op_handlers(higher)}:
            return f"they need opset {higher} or higher: set onnx_opsets: [{higher}]"
    advice = sorted({_ADVICE[operation] for operation in found if operation in _ADVICE})
    if any(operation.startswith(_TEXT) for operation in found.keys() - _ADVICE.keys()):
        advice.append("ONNX has no text operations: save a signature that starts after the text processing")
    if any("Random" in operation for operation in found):
        advice.append("random numbers are for training: save the model with training=False, or without that part")
    return "; ".join(advice) or "replace them in the model with operations that ONNX supports, and save it again"


def _unlist_initializers(model: _Proto) -> None:
    """Remove the weights from the list of inputs, which contains them below opset 9."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    for index in reversed(range(len(model.graph.input))):
        if model.graph.input[index].name in initializers:
            del model.graph.input[index]


def _state_shapes(model: _Proto, signature: Signature) -> None:
    """Set the signature's shape for outputs whose rank tf2onnx lost (lookup tables, text), since ONNX needs it."""
    shapes = {spec.name: spec.shape for spec in signature.outputs}
    for value in model.graph.output:
        if value.type.tensor_type.HasField("shape"):
            continue
        shape = shapes[value.name]
        if shape is None:
            raise StepError(
                f"the rank of output {value.name!r} is unknown, but ONNX needs it",
                "save a signature that ends with tf.ensure_shape, with None for a dynamic axis",
            )
        value.type.tensor_type.shape.SetInParent()
        for axis, size in enumerate(shape):
            value.type.tensor_type.shape.dim.add(
                **({"dim_param": f"{value.name}_{axis}"} if size < 0 else {"dim_value": size})
            )
