"""Converts torch.export programs to ONNX with `torch.onnx.export(dynamo=True)`.

Names come from the signature, dynamic axes from the program. The exporter writes opset 18 and converts that to other
opsets, which may fail without an error, so every file is read back.
"""

import re
from dataclasses import dataclass

from navigator.converters.protocol import Container, Conversion, Variant
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.memory import gigabytes, require_memory
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.onnx_patches import (
    exact_constants,
    forget_computed_sizes,
    reshaped_views,
    right_angles,
)
from navigator.frameworks.torch.translations import right_translations
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, StepOptions
from navigator.runners.torch_export import load_program, quiet

SOURCE = Format.TORCH_EXPORT
TARGET = Format.ONNX
DISTRIBUTIONS = ("torch", "onnxscript", "onnx", "onnxruntime")
PRELOAD = ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx", "onnx.inliner", "onnxruntime")
NEEDS_SAMPLES = True  # for the names: the signature comes with the samples
NEEDS_GPU = False
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

_NATIVE_OPSET = 18

_REPLACE_ADVICE = "replace that part of the model; the log shows where it is"

# Larger weights are written to a separate file while they are read; smaller ones are copied by protobuf (torch 2.13,
# measured at 0.5 and 2.1 GB).
_EXTERNAL_FROM_BYTES = 1_800_000_000
_MEMORY_FACTOR = 4.3
_EXTERNAL_MEMORY_FACTOR = 1.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(StepOptions):
    """`opset` of the file to write."""

    opset: int = _NATIVE_OPSET


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the export with the configuration's opset, or the default one."""
    del model
    opset = configuration.onnx_opset or _NATIVE_OPSET
    return Variant(segment=f"onnx_op{opset}", options=Options(opset=opset), opset=opset)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return missing(DISTRIBUTIONS, "torch", host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Export the program, or raise a lower opset's export; see `navigator.converters.protocol`."""
    opset = conversion.options.opset
    return onnx_opsets.raised_or_exported(
        conversion.raise_from, conversion.destination, opset, lambda: _export(conversion, opset)
    )


def _export(conversion: Conversion[Options], opset: int) -> Properties:
    import onnx
    import torch

    assert conversion.signature is not None
    destination = conversion.destination
    size = conversion.source.stat().st_size
    external = size > _EXTERNAL_FROM_BYTES
    factor = _EXTERNAL_MEMORY_FACTOR if external else _MEMORY_FACTOR
    require_memory(int(size * factor), f"exporting {conversion.source.name} ({gigabytes(size)})")
    program = load_program(conversion.source)
    forget_computed_sizes(program)
    torch_values.refuse_bfloat16([*program.named_parameters(), *program.named_buffers()])
    exporter = f"torch.onnx {str(torch.__version__).split('+', 1)[0]} torch.export"
    try:
        with quiet(), exact_constants(), reshaped_views(), right_angles():
            torch.onnx.export(
                program,
                (),
                str(destination),
                dynamo=True,
                opset_version=opset,
                input_names=[spec.name for spec in conversion.signature.inputs],
                output_names=[spec.name for spec in conversion.signature.outputs],
                external_data=external,
                custom_translation_table=right_translations(),
            )
    except Exception as error:
        raise _refusal(error, exporter, opset) from error
    try:
        onnx_file.require_opset(destination, opset, "it")
        onnx_file.check(destination)
    except StepError as error:
        raise StepError(
            f"{exporter} at opset {opset}: {error.message}",
            f"set onnx_opsets between {_NATIVE_OPSET} and {onnx.defs.onnx_opset_version()}, e.g. [{_NATIVE_OPSET}]"
            if opset != _NATIVE_OPSET
            else _REPLACE_ADVICE,
        ) from error
    return onnx_file.properties(destination, exporter)


def _refusal(error: BaseException, exporter: str, opset: int) -> StepError:
    """Return the exporter's error in one sentence: the first cause, which follows a page of advice in its own text."""
    at = ""
    while error.__cause__ is not None:
        error = error.__cause__
        translating = re.search(r"Error when translating node .*?target=torch\.ops\.([\w.]+)\.\w+\]", str(error))
        at = f" at operator {translating[1]}" if translating else at
    missing_function = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
    if missing_function:
        return StepError(
            f"{exporter} doesn't support operator {missing_function[1]} at any opset",
            "replace the operator in the model",
        )
    return StepError(
        f"{exporter} fails at opset {opset}{at}: {torch_values.reason(error)}",
        _REPLACE_ADVICE,
    )
