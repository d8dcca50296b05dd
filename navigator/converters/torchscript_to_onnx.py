"""Converts TorchScript to ONNX with `torch.onnx.export(dynamo=False)`, torch's only exporter for ScriptModules.

Names and dynamic axes (-1) come from the signature. Arguments and outputs that ONNX doesn't support (dictionaries,
lists, None, numbers) are flattened by a wrapper around the module, which keeps its control flow.
"""

import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from navigator.converters.protocol import Container, Conversion, Variant
from navigator.errors import StepError
from navigator.frameworks import opsets
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.memory import gigabytes, require_memory
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.frameworks.onnx import paddings, streamed
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import Argument, bind, parameters
from navigator.frameworks.torch.flat import flattened
from navigator.frameworks.torch.onnx_patches import plain_graphs
from navigator.frameworks.torch.script_nodes import nodes
from navigator.frameworks.torch.streamed_weights import streamed_weights
from navigator.frameworks.torch.symbolics import right_operators
from navigator.frameworks.torch.symbolics.indexing import lost_sums
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, Signature, StepOptions, TensorSpec
from navigator.runners.torchscript import load_module, quiet
from navigator.samples import storage as arrays

SOURCE = Format.TORCHSCRIPT
TARGET = Format.ONNX
DISTRIBUTIONS = ("torch", "onnx", "onnxruntime")
PRELOAD = ("torch", "torch.onnx", "onnx", "onnx.inliner", "onnx.version_converter", "onnxruntime")
NEEDS_SAMPLES = True
NEEDS_GPU = False
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# The last opset whose operators the exporter supports (torch 2.13); for 21 to 23, it writes operators of opset 20.
_LOWEST_OPSET = 7
_HIGHEST_OPSET = 20

# Peak memory by size of the file: 1.5 at 1.3 GB, since constants that are transposed are there twice (torch 2.13).
_MEMORY_FACTOR = 2.0

_UNSUPPORTED = re.compile(
    r"operator '(?P<operator>[^']+)' to ONNX opset version \d+ is not supported"
    r"(\. Support for this operator was added in version (?P<since>\d+))?"
)
# Some kinds of an operator.
_UNSUPPORTED_KIND = re.compile(
    r"ONNX export of (?P<operator>\S+) in opset \d+\. .*Please try opset version (?P<since>\d+)"
)

_QUANTIZED = re.compile("quantiz|fake_quant")
_UNQUANTIZED_ADVICE = (
    "convert the model as it was before its quantization, and quantize the ONNX file with ONNX Runtime"
)

# Warnings of torch 2.13 for every export of a ScriptModule, or about choices that verification checks anyway.
_KNOWN_WARNINGS = (
    r"You are using the legacy TorchScript-based ONNX export",
    r"The feature will be removed\. Please remove usage of this function",
    r".*no signature found for",
    r"Exporting a model to ONNX with a batch_size other than 1",
    r"Setting 'keep_initializers_as_inputs=False' for opset version",
    r"Constant folding in symbolic shape inference fails",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(StepOptions):
    """`opset` of the file to write, or a higher one if `may_raise` and an operator needs it."""

    opset: int = opsets.DEFAULT
    may_raise: bool = False


class _NeedsOpsetError(StepError):
    """An operator can be exported at a higher opset only."""

    def __init__(self, message: str, needed: opsets.Raised) -> None:
        super().__init__(message, f"set onnx_opsets: [{needed.opset}]")
        self.needed = needed


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the export with the configuration's opset, or the default one."""
    opset = configuration.onnx_opset or opsets.DEFAULT
    options = Options(opset=opset, may_raise=isinstance(model.onnx_opsets, str))
    return Variant(segment=f"onnx_op{opset}", options=options, opset=opset)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return missing(DISTRIBUTIONS, "torch", host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Export the module, or raise a lower opset's export; see `navigator.converters.protocol`."""
    opset = conversion.options.opset
    if opset < _LOWEST_OPSET:
        raise StepError(
            f"the TorchScript exporter can't write opset {opset}: it supports {_LOWEST_OPSET} and higher",
            f"set onnx_opsets: [{opsets.DEFAULT}]",
        )
    try:
        return onnx_opsets.raised_or_exported(
            conversion.raise_from, conversion.destination, opset, lambda: _exported(conversion, opset)
        )
    except _NeedsOpsetError as error:
        if not conversion.options.may_raise:
            raise
        options = replace(conversion.options, opset=error.needed.opset)
        properties = convert(replace(conversion, options=options))
        return properties.updated(Properties(warnings=(str(error.needed), *properties.warnings)))


def _exported(conversion: Conversion[Options], opset: int) -> Properties:
    """Export at `opset`, or export at the exporter's highest opset and raise that."""
    destination = conversion.destination
    if opset <= _HIGHEST_OPSET:
        told = _export(conversion, destination, opset)
        return onnx_file.properties(destination, _exporter()).updated(Properties(warnings=told))
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        lower = Path(scratch) / destination.name
        _export(conversion, lower, _HIGHEST_OPSET)
        how = onnx_opsets.change(lower, destination, opset)
        return onnx_file.properties(destination, f"{_exporter()}, {how}")


def _export(conversion: Conversion[Options], destination: Path, opset: int) -> tuple[str, ...]:
    """Export to `destination`, check the file and read it back; return the warnings."""
    assert conversion.signature is not None
    assert conversion.samples is not None
    size = conversion.source.stat().st_size
    require_memory(int(size * _MEMORY_FACTOR), f"exporting {conversion.source.name} ({gigabytes(size)})")
    module = load_module(conversion.source)
    torch_values.refuse_bfloat16([*module.named_parameters(), *module.named_buffers()])
    told = lost_sums(module, opset)
    if told and conversion.options.may_raise:
        needed = opsets.Raised(opset=opsets.ADDS, needed_by=("adding several values for one place",), instead_of=opset)
        raise _NeedsOpsetError(told[0], needed)
    samples = arrays.load(conversion.samples, mapped=True)
    try:
        _run_exporter(module, conversion, samples, destination, opset)
    except StepError:
        raise
    except Exception as error:
        raise _refusal(error, opset, module) from error
    try:
        onnx_file.gather(destination)
        onnx_file.require_opset(destination, opset, "it")
        onnx_file.check(destination)
    except StepError as error:
        raise StepError(
            f"{_exporter()} at opset {opset}: {error.message}",
            error.hint or f"set onnx_opsets: [{opsets.DEFAULT}], or higher up to {_HIGHEST_OPSET}",
        ) from error
    _mend(destination, conversion.signature)
    return told


def _run_exporter(
    module: _Torch,
    conversion: Conversion[Options],
    samples: Sequence[tuple[str, arrays.Arrays]],
    destination: Path,
    opset: int,
) -> None:
    import torch

    signature = conversion.signature
    assert signature is not None
    arguments = bind(parameters(module), signature.inputs, conversion.arguments)
    names = [name for argument in arguments for name in argument.inputs]
    sample = _example(samples, signature.inputs)
    tensors = {name: torch_values.to_tensor(sample[name]) for name in names}
    with quiet(), plain_graphs(), streamed_weights(), right_operators(opset), torch.no_grad():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        torch.onnx.export(
            module if _is_flat(module, arguments) else flattened(module, arguments, tensors),
            tuple(tensors.values()),
            str(destination),
            dynamo=False,
            opset_version=opset,
            input_names=names,
            output_names=[spec.name for spec in signature.outputs],
            dynamic_axes=_dynamic_axes(signature.inputs, samples),
        )


def _is_flat(module: _Torch, arguments: Sequence[Argument]) -> bool:
    """Return whether every argument is a tensor and the output is a tensor or a flat tuple of tensors."""
    returns = [str(value.type) for value in module.forward.schema.returns]
    items = returns[0].removeprefix("Tuple[").removesuffix("]").split(", ") if len(returns) == 1 else [""]
    return (
        set(items) == {"Tensor"}
        and len(arguments) == len(parameters(module))
        and all(each.parameter.kind == "tensor" and each.inputs for each in arguments)
    )


def _example(samples: Sequence[tuple[str, arrays.Arrays]], inputs: Sequence[TensorSpec]) -> arrays.Arrays:
    """Return the smallest sample with the fewest dynamic axes of size 1, which exporters treat as constants."""

    def cost(sample: arrays.Arrays) -> tuple[int, int]:
        ones = sum(
            own == -1 and size == 1
            for spec in inputs
            for own, size in zip(spec.shape or (), sample[spec.name].shape, strict=False)
        )
        return ones, sum(sample[spec.name].size for spec in inputs)

    return min((sample for _, sample in samples), key=cost)


def _dynamic_axes(
    inputs: Sequence[TensorSpec], samples: Sequence[tuple[str, arrays.Arrays]]
) -> dict[str, dict[int, str]]:
    """Return a name for every dynamic axis of the inputs; the exporter infers those of the outputs.

    First axes with the same size in every sample are named "batch"; others are named `<input>_<axis>`.
    """

    def first_sizes(spec: TensorSpec) -> list[int]:
        return [sample[spec.name].shape[0] for _, sample in samples]

    batched = [spec for spec in inputs if spec.shape and spec.shape[0] == -1]
    return {
        spec.name: {
            axis: "batch" if axis == 0 and first_sizes(spec) == first_sizes(batched[0]) else f"{spec.name}_{axis}"
            for axis, size in enumerate(spec.shape or ())
            if size == -1
        }
        for spec in inputs
    }


def _mend(path: Path, signature: Signature) -> None:
    """Change in the file at `path` what the exporter can't be told before: names of axes, and padding."""
    model = onnx_file.structure(path)
    if any([_rename_output_axes(model, signature), paddings.made_explicit(model)]):
        streamed.save_over(path, model)


def _rename_output_axes(model: Any, signature: Signature) -> bool:
    """Name the dynamic axes of the outputs that are not an input's: `<output>_<axis>`; return whether there are any.

    The exporter names them after operators (torch 2.13). An axis that has the size of the example, although it is -1 in
    `signature`, gets a name too.
    """
    inputs = {axis.dim_param for value in model.graph.input for axis in value.type.tensor_type.shape.dim}
    declared = {spec.name: spec.shape or () for spec in signature.outputs}
    names: dict[str, str] = {}
    changed = False
    for value in (*model.graph.output, *model.graph.value_info):
        sizes = dict(enumerate(declared.get(value.name, ())))
        for index, axis in enumerate(value.type.tensor_type.shape.dim):
            if value.name in declared and axis.dim_param and axis.dim_param not in inputs:
                names.setdefault(axis.dim_param, f"{value.name}_{index}")
            if axis.dim_param in names:
                axis.dim_param = names[axis.dim_param]
                changed = True
            elif axis.HasField("dim_value") and sizes.get(index) == -1:
                axis.dim_param = f"{value.name}_{index}"
                changed = True
    return changed


def _refusal(error: Exception, opset: int, module: _Torch) -> StepError:
    """Return the exporter's error in one sentence; its own text may have pages of the graph."""
    # Torch's other exporter has no quantized operators either.
    quantized = any("quantized" in node.kind() for node in nodes(module.inlined_graph))
    if "LSTMs with projections" in str(error):
        return StepError(
            "an LSTM with projections (proj_size) needs opset 11, and can't be exported with packed sequences",
            f"set onnx_opsets: [{opsets.DEFAULT}]"
            if opset < opsets.DEFAULT
            else "write it as a loop over its steps in the model, and script that",
        )
    found = _UNSUPPORTED.search(str(error)) or _UNSUPPORTED_KIND.search(str(error))
    if found is None:
        return StepError(
            f"{_exporter()} fails at opset {opset}: {torch_values.reason(error)}",
            _UNQUANTIZED_ADVICE
            if quantized
            else "export the model with torch.export instead (.pt2), or check the graph in the log",
        )
    # Names such as `aten::__and__` lose the last letter, as if they were those of operations in place.
    operator, since = re.sub(r"(::__\w*[^\W_]_)$", r"\1_", found["operator"]), int(found["since"] or 0)
    if since <= opset:
        return StepError(
            f"{_exporter()} doesn't support operator {operator} at any opset up to {_HIGHEST_OPSET}",
            _UNQUANTIZED_ADVICE
            if _QUANTIZED.search(operator)
            else "export the model with torch.export instead (.pt2), or replace the operator",
        )
    return _NeedsOpsetError(
        f"{_exporter()} doesn't support operator {operator} at opset {opset}: it needs {since} or higher",
        opsets.Raised(opset=since, needed_by=(operator,), instead_of=opset),
    )


def _exporter() -> str:
    import torch

    return f"torch.onnx {str(torch.__version__).split('+', 1)[0]} TorchScript"
