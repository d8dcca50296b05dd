"""The ways through the graph of formats, and the steps along them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from navigator.converters import CONVERTERS
from navigator.plan.matrix import _TYPED
from navigator.records import Configuration, Format, Json, ModelConfig, Precision, PrecisionMode, Step

_TYPED_ONNX = "onnx_to_typed_onnx"


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """One edge of a route with the label and the options that a configuration gives it."""

    converter: str
    segment: str
    options: dict[str, Json]
    precision: Precision = Precision.FP32


def route_to(model: ModelConfig, source: Format, configuration: Configuration) -> tuple[Edge, ...] | None:
    """Return the edges from the source to the configuration's target format, or None if none lead there."""
    keys = _shortest(source, configuration.target_format)
    if keys is None:
        return None
    if source is Format.ONNX and configuration.target_format in _TYPED and configuration.onnx_opset is not None:
        keys = ("onnx_to_onnx", *keys)
    if configuration.target_format in _TYPED and configuration.precision is not Precision.FP32:
        keys = (*keys[:-1], _TYPED_ONNX, keys[-1])
    return tuple(_edge(key, model, configuration) for key in keys)


def _shortest(source: Format, target: Format) -> tuple[str, ...] | None:
    """Return the converters on the shortest way from `source` to `target`; every way has at least one."""
    ways: list[tuple[Format, tuple[str, ...]]] = [(source, ())]
    seen: set[Format] = set()
    for at, way in ways:
        for key, converter in CONVERTERS.items():
            if converter.SOURCE is not at:
                continue
            if converter.TARGET is target:
                return (*way, key)
            if converter.TARGET not in seen:
                seen.add(converter.TARGET)
                ways.append((converter.TARGET, (*way, key)))
    return None


def _edge(key: str, model: ModelConfig, configuration: Configuration) -> Edge:
    """Return the edge with the options that belong to it, and the label that tells them apart."""
    source, target = CONVERTERS[key].SOURCE, CONVERTERS[key].TARGET
    if key == _TYPED_ONNX:
        return _typed_onnx(model, configuration)
    options: dict[str, Json] = {}
    segment, precision = str(target), Precision.FP32
    if target is Format.ONNX and configuration.onnx_opset is not None:
        options["opset"] = configuration.onnx_opset
        segment = f"onnx_op{configuration.onnx_opset}"
    if source is Format.TF_SAVEDMODEL and target is not Format.TF_SAVEDMODEL:
        options["signature_name"] = model.signature_name
    if configuration.precision is not None and target is configuration.target_format:
        segment, engine = engine_options(model, configuration)
        options |= engine
        precision = configuration.precision
    return Edge(converter=key, segment=segment, options=options, precision=precision)


def _typed_onnx(model: ModelConfig, configuration: Configuration) -> Edge:
    """Return the step that makes the ONNX graph's precision. What int8 leaves over is fp16 only in a hierarchy."""
    precision, mode = configuration.precision, configuration.precision_mode
    assert precision is not None
    options: dict[str, Json] = {"precision": precision}
    segment = f"onnx_{precision}"
    if precision is Precision.INT8:
        segment = f"{segment}_{mode}"
        options |= {
            "precision_mode": mode,
            "explicit_precision": model.tensorrt_explicit_precision,
            "random_samples": not model.samples,
        }
    return Edge(converter=_TYPED_ONNX, segment=segment, options=options, precision=precision)


def engine_options(model: ModelConfig, configuration: Configuration) -> tuple[str, dict[str, Json]]:
    """Return label and options of an engine. In fp32 there is nothing to fall back to, so modes do not differ."""
    precision, mode, target = configuration.precision, configuration.precision_mode, configuration.target_format
    segment = f"{target}_{precision}"
    options: dict[str, Json] = {
        "precision": precision,
        "max_workspace_size": model.tensorrt_max_workspace_size,
    }
    if target is Format.TF_TRT:
        return segment, options
    if precision is not Precision.FP32:
        segment = f"{segment}_{mode}"
        options["precision_mode"] = mode
    # What stays in float32 beside a lower precision: TF32 is what TensorRT falls back to, with 10 bits of mantissa.
    options["tf32"] = mode is PrecisionMode.HIERARCHY and precision is not Precision.FP32
    options["sparse_weights"] = model.tensorrt_sparse_weights
    if target in _TYPED:
        options["plugins"] = [str(path) for path in model.tensorrt_plugins]
    else:
        options["explicit_precision"] = model.tensorrt_explicit_precision
    if target is Format.TRT_RTX:
        options["compute_capabilities"] = list(model.tensorrt_rtx_compute_capabilities)
    return segment, options


def steps_along(source: Format, route: tuple[Edge, ...]) -> Iterator[Step]:
    """Yield one step an edge, each the parent of the next."""
    parent: str | None = None
    at = source
    for edge in route:
        label = edge.segment if parent is None else f"{parent}/{edge.segment}"
        target = CONVERTERS[edge.converter].TARGET
        yield Step(
            label=label,
            converter=edge.converter,
            source_format=at,
            target_format=target,
            parent=parent,
            options=edge.options,
            precision=edge.precision,
        )
        parent, at = label, target


def reachable(source: Format) -> tuple[Format, ...]:
    """Return the target formats that `source` can be converted to."""
    return tuple(target for target in Format if _shortest(source, target) is not None)
