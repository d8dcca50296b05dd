"""Converts ONNX to ONNX in another precision: fp16, or int8 with Q/DQ nodes and the rest in fp16 or fp32.

Networks are strongly typed: an engine computes in the precisions of its ONNX file. Inputs and outputs keep
their names, shapes and types.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from navigator.converters.protocol import Container, Conversion, Variant, nothing_became
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import fp16 as onnx_fp16
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import int8 as onnx_int8
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.records import Configuration, Format, Host, ModelConfig, Precision, PrecisionMode, Properties
from navigator.runners import onnx as onnx_runner

if TYPE_CHECKING:
    import onnx_ir as ir

SOURCE = Format.ONNX
TARGET = Format.ONNX
DISTRIBUTIONS = ("onnx", "onnx-ir", "onnxruntime")
PRELOAD = ("onnx", "onnx.inliner", "onnx.version_converter", "onnx_ir", "onnx_ir.passes.common", "onnxruntime")
NEEDS_SAMPLES = True
NEEDS_GPU = False
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

# Q/DQ nodes support one scale per channel from opset 13, and fp16 scales from opset 19.
_INT8_OPSET = 13
_INT8_IN_FP16_OPSET = 19

# Larger values are not results: they represent infinity, in masks.
_INFINITE = 1e30

# How many nodes a message names.
_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(onnx_runner.Options):
    """The precision of the new graph.

    `precision` is fp16 or int8. `precision_mode` is for int8: hierarchy converts everything else to fp16, single leaves
    it unchanged. `explicit_precision` is whether the user declared that the model has Q/DQ nodes, `random_samples`
    whether scales are measured on random values.
    """

    precision: Precision
    precision_mode: PrecisionMode = PrecisionMode.HIERARCHY
    explicit_precision: bool = False
    random_samples: bool = False


def variant(model: ModelConfig, configuration: Configuration) -> Variant | None:
    """Return the step, None for fp32. In int8, the rest is fp16 only in a hierarchy; fp16 has no modes."""
    precision, mode = configuration.precision, configuration.precision_mode
    if precision is None or precision is Precision.FP32:
        return None
    if precision is Precision.FP16 or mode is None:
        return Variant(segment=f"onnx_{precision}", options=Options(precision=precision), precision=precision)
    options = Options(
        precision=precision,
        precision_mode=mode,
        explicit_precision=model.tensorrt_explicit_precision,
        random_samples=not (model.samples or model.calibration_samples),
    )
    return Variant(segment=f"onnx_{precision}_{mode}", options=options, precision=precision)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return missing(DISTRIBUTIONS, "onnx", host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Convert the model to another precision; see `navigator.converters.protocol`."""
    source, destination = conversion.source, conversion.destination
    options = conversion.options
    to_int8 = _is_int8(options)
    to_fp16 = not to_int8 or options.precision_mode is not PrecisionMode.SINGLE
    quantized = to_int8 and onnx_int8.is_quantized(onnx_file.structure(source))
    if to_int8 and not quantized and options.explicit_precision:
        raise StepError(
            "tensorrt_explicit_precision is set, but the model has no QuantizeLinear or DequantizeLinear nodes",
            "use the quantized model, or remove the option to quantize this one on its samples",
        )
    if quantized and not onnx_int8.holds_int8(onnx_graph.read(source)):
        raise nothing_became(Precision.INT8, "the model is quantized already, to another type")
    if quantized and not to_fp16:
        onnx_file.copy(source, destination)
        onnx_file.check(destination, made_of=source)
        return _properties(onnx_graph.read(source), conversion, "copied with its own Q/DQ nodes")
    warnings: list[str] = []
    makers: list[str] = []
    kept: Mapping[str, int] = {}
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        lowest = (_INT8_IN_FP16_OPSET if to_fp16 else _INT8_OPSET) if to_int8 else onnx_magnitudes.LOWEST_OPSET
        path, raised = _raised(source, Path(scratch) / "raised", lowest, options.precision)
        makers += [raised] if raised else []
        model = onnx_graph.prepare(path)
        if to_int8 and not quantized:
            warnings += _quantize(model, conversion)
            makers.append("quantized to int8 by navigator")
        calibrated = (to_int8 and not quantized) or None
        if to_fp16:
            kept, more = _to_fp16(model, _samples(conversion), required=not to_int8)
            warnings += more
            makers.append("cast to fp16 by navigator")
        _write(model, Path(scratch) / "made" / destination.name, destination, source)
        found = _properties(model, conversion, ", ".join(makers))
        return found.updated(Properties(calibrated=calibrated, kept_in_fp32=kept, warnings=tuple(warnings)))


def _is_int8(options: Options) -> bool:
    precision, mode = options.precision, options.precision_mode
    if precision is Precision.FP32 or mode is PrecisionMode.MIXED:
        raise StepError(f"an ONNX file can't be converted to {precision} with mode {mode}")
    return precision is Precision.INT8


def _samples(conversion: Conversion[Options]) -> Path:
    if conversion.samples is None:
        raise StepError("no samples to measure the model's values on")
    return conversion.samples


def _raised(source: Path, directory: Path, lowest: int, precision: str) -> tuple[Path, str]:
    """Return the model at opset `lowest` or higher, and how it was changed, or ""."""
    before = onnx_file.opset(source)
    if before is not None and before >= lowest:
        return source, ""
    directory.mkdir()
    raised = directory / source.name
    try:
        return raised, onnx_opsets.change(source, raised, lowest)
    except StepError as error:
        raise StepError(
            f"{precision} needs opset {lowest} or higher: {error.message}",
            f"export the model at opset {lowest} or higher, or set onnx_opsets to it",
        ) from error


def _quantize(model: "ir.Model", conversion: Conversion[Options]) -> list[str]:
    """Quantize `model` and return the warnings."""
    if not onnx_int8.quantize(model, _samples(conversion)):
        why = "no Conv, ConvTranspose, Gemm or MatMul outside subgraphs has constant float32 weights"
        raise nothing_became(Precision.INT8, why)
    if conversion.options.random_samples:
        return [
            "int8 scales come from random samples: provide real ones, or real inputs may be clipped or lose precision"
        ]
    return []


def _to_fp16(model: "ir.Model", samples: Path, *, required: bool) -> tuple[Mapping[str, int], list[str]]:
    """Convert `model` to fp16; return the number of nodes that stay in fp32 by reason, and the warnings.

    Raises:
        NotApplicableError: `required`, and nothing became fp16.
    """
    plan = onnx_fp16.plan(model, samples)
    kept = Counter(str(reason) for reason in plan.kept.values())
    if required and not plan.ports:
        raise nothing_became(Precision.FP16, _why_no_fp16(model, kept))
    warnings = []
    reached = _reached(model.graph, plan)
    if reached:
        near = f"close to or above {onnx_fp16.LARGEST:.0f}, the largest fp16 number"
        warnings.append(f"{reached}: {near}, so the nodes that handle such values stay in fp32")
    inside = sum(len(graph) for graph in model.graph.subgraphs())
    if inside:
        warnings.append(f"nodes that stay in fp32 because they are inside If, Loop or Scan: {inside}")
    if not plan.ports:
        warnings.append("nothing became fp16: no float32 operator of the model has a safe fp16 form")
    onnx_fp16.apply(model, plan)
    return kept, warnings


def _why_no_fp16(model: "ir.Model", kept: Mapping[str, int]) -> str:
    import onnx_ir as ir

    if kept:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in kept.items())
        return f"all float32 operators of the model stay in fp32 ({reasons})"
    values = (value for node in model.graph for value in (*node.inputs, *node.outputs))
    half = any(onnx_graph.is_tensor(value, ir.DataType.FLOAT16) for value in values)
    return "the model computes in fp16 already" if half else "the model has no float32 operators"


def _reached(graph: "ir.Graph", plan: onnx_fp16.Plan) -> str:
    """Return the first few inputs, constants and nodes with values too large for fp16, and the values, or ""."""
    makers = {value: f"input '{value.name}'" for value in graph.inputs}
    makers |= {value: f"constant '{value.name}'" for value in graph.initializers.values()}
    makers |= {value: onnx_graph.describe(node) for node in graph for value in node.outputs}
    reached = {value: plan.too_large[value] for value in makers if value in plan.too_large}
    named = [f"{makers[value]} reaches {large:.3g}" for value, large in reached.items() if large < _INFINITE]
    more = f", and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


def _write(model: "ir.Model", made: Path, destination: Path, source: Path) -> None:
    """Save `model` with all of its weights, check it and move it into place."""
    made.parent.mkdir()
    onnx_graph.save(model, made)
    onnx_file.check(made, made_of=source)
    for path in made.parent.iterdir():
        shutil.move(path, destination.parent / path.name)


def _properties(model: "ir.Model", conversion: Conversion[Options], exporter: str) -> Properties:
    """Return the properties of `model` as it was written. Only nodes outside subgraphs are counted."""
    import onnx_ir as ir

    onnx_graph.infer_types(model)
    operators = Counter(node.op_type for node in model.graph)
    computing = [
        {value.type for value in (*node.inputs, *node.outputs) if value is not None}
        for node in model.graph
        if node.op_type not in onnx_fp16.FOLLOWING | onnx_int8.QUANTIZING
    ]
    half, whole = ir.TensorType(ir.DataType.FLOAT16), ir.TensorType(ir.DataType.FLOAT)
    return Properties(
        exporter=exporter,
        onnx_opset=onnx_graph.opset(model, ""),
        precision=conversion.options.precision,
        fp16_nodes=sum(half in types for types in computing),
        fp32_nodes=sum(whole in types and half not in types for types in computing),
        quantize_nodes=operators["QuantizeLinear"],
        dequantize_nodes=operators["DequantizeLinear"],
    )
