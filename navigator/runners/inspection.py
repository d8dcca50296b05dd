"""Adds to a description what a framework knows of a model that was loaded, but not run."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import lookups
from navigator.frameworks.tensorflow import signatures
from navigator.frameworks.torch import calls, differing
from navigator.frameworks.torch.arguments import parameters
from navigator.models.structure.saved_model import CUSTOM_UNKNOWN
from navigator.records import Description, Format, Signature, TensorSpec, ValueRange
from navigator.runners import RUNNERS, torchscript
from navigator.runners.abilities import ExportDiffers, TellsValues
from navigator.samples.values import Told

_NOTHING = Signature(inputs=(), outputs=())
# Namespaces of operators that torch itself has; TorchScript's own syntax isn't an operator.
_TORCH = frozenset({"aten", "prims", "quantized", "sparse", "_quantized"})
_SYNTAX = "prim"


def preload(model_format: Format) -> tuple[str, ...]:
    """Return the modules that `completed` imports: an ONNX file is read, but not loaded into ONNX Runtime."""
    return ("onnx",) if model_format is Format.ONNX else RUNNERS[model_format].PRELOAD


def completed(description: Description, path: Path) -> Description:
    """Return a description with the values that inputs may have, and everything that TorchScript stores.

    Raises:
        StepError: the framework can't load the file.
    """
    match description.model_format:
        case Format.ONNX:
            return replace(description, values=_ranges(lookups.told(onnx_file.structure(path))))
        case Format.TORCHSCRIPT:
            return _script(description, path)
        case Format.TF_SAVEDMODEL if custom := signatures.unregistered(description.operators):
            # TensorFlow can't load it either.
            return replace(description, custom_operators=custom, unknown=_without_custom(description))
        case _:
            runner = RUNNERS[description.model_format]
            model = runner.load(path, declared=_NOTHING, signature_name=description.signature_name or None)
            told = model.told if isinstance(model, TellsValues) else {}
            inputs, outputs = model.signature.inputs, model.signature.outputs
            known = replace(
                description,
                inputs=inputs if description.inputs is None else description.inputs,
                outputs=outputs if description.outputs is None else description.outputs,
                unknown=_without_custom(description),
            )
            notes = model.export_notes if isinstance(model, ExportDiffers) else ()
            return replace(known, values=_ranges(told), notes=notes)


def _without_custom(description: Description) -> tuple[str, ...]:
    return tuple(each for each in description.unknown if each != CUSTOM_UNKNOWN)


def _ranges(told: Mapping[str, Told]) -> dict[str, ValueRange]:
    """Return the ranges that are told; a sign that the model minds is none, and text has none."""
    return {
        name: ValueRange(low=each.low, high=each.high, why=each.why)
        for name, each in told.items()
        if not (each.signed or each.texts)
    }


def _script(description: Description, path: Path) -> Description:
    with warnings.catch_warnings(record=True):
        module = torchscript.open_module(path)
    names = [each.name for each in parameters(module)]
    nodes = Counter(node.kind() for node in module.inlined_graph.nodes() if not node.kind().startswith(_SYNTAX))
    return replace(
        description,
        inputs=tuple(TensorSpec(name=name, shape=None, dtype="") for name in names),
        operators=dict(nodes.most_common()),
        custom_operators=tuple(sorted(kind for kind in nodes if kind.partition("::")[0] not in _TORCH)),
        quantized=any(kind.startswith("quantized::") for kind in nodes),
        training=bool(module.training),
        notes=differing.notes([*calls.of_script(module)], (), "torchscript"),
    )
