"""From configuration to the tree of steps and the cells: pure, so that it can be printed, filtered and tested.

Owns the matrix (formats x opsets x modes x precisions), the routes through the graph of formats, labels, and why
a cell cannot run on a machine. Reads no model and imports no framework.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from navigator.converters import CONVERTERS
from navigator.converters.protocol import Unavailable, missing
from navigator.records import (
    Cell,
    Configuration,
    Format,
    Host,
    Json,
    ModelConfig,
    ModelPlan,
    Plan,
    Precision,
    PrecisionMode,
    RunConfig,
    State,
    Step,
)
from navigator.runners import RUNNERS

# Which extra of this project installs what a source format needs.
_EXTRAS = {
    Format.TF_SAVEDMODEL: "tensorflow",
    Format.TORCHSCRIPT: "torch",
    Format.TORCH_EXPORT: "torch",
    Format.ONNX: "onnx",
}

# torch.onnx writes opset 18 whatever lower one it is asked for, so the design document's 14 is no default for it.
_TORCH_EXPORT_OPSETS = (18,)

_ENGINES = (Format.TRT, Format.TRT_RTX, Format.TORCH_TRT)
_GPU_FORMATS = (*_ENGINES, Format.TF_TRT)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Edge:
    """One edge of a route with the label and the options that a configuration gives it."""

    converter: str
    segment: str
    options: dict[str, Json]


def plan(run: RunConfig, host: Host) -> Plan:
    """Return what converting every model of `run` on `host` takes."""
    return Plan(models=tuple(_plan_model(model, host) for model in run.models))


def select(plan: Plan, *, models: Sequence[str] = (), cells: Sequence[str] = ()) -> Plan:
    """Return the part of `plan` whose model names and cell labels match any of the globs; () matches all."""
    kept = []
    for model in plan.models:
        if not _matches(model.config.model_name, models):
            continue
        chosen = tuple(cell for cell in model.cells if _matches(cell.label, cells))
        if chosen:
            kept.append(replace(model, cells=chosen, steps=_needed(model.steps, chosen)))
    return Plan(models=tuple(kept))


def configurations(model: ModelConfig, opsets: Sequence[int | None]) -> Iterator[Configuration]:
    """Yield the matrix of `model` in the order formats, opsets, modes, precisions, before applicability.

    TF-TRT knows no mode, and the pass-through formats know neither opset nor precision.
    """
    mode = model.tensorrt_precisions_mode
    modes = (PrecisionMode.HIERARCHY, PrecisionMode.SINGLE) if mode is PrecisionMode.MIXED else (mode,)
    for target in model.target_formats:
        if target is Format.ONNX:
            for opset in opsets:
                yield Configuration(target_format=target, onnx_opset=opset)
        elif target in _ENGINES:
            for opset in opsets:
                for each in modes:
                    for precision in model.tensorrt_precisions:
                        yield Configuration(
                            target_format=target, onnx_opset=opset, precision=precision, precision_mode=each
                        )
        elif target is Format.TF_TRT:
            for precision in model.tensorrt_precisions:
                yield Configuration(target_format=target, precision=precision)
        else:
            yield Configuration(target_format=target)


def opsets_of(model: ModelConfig) -> tuple[int | None, ...]:
    """Return the opsets to ask for; None keeps an ONNX source at its own opset unless the user named others."""
    if "onnx_opsets" not in model.given:
        if model.model_format is Format.ONNX:
            return (None,)
        if model.model_format is Format.TORCH_EXPORT:
            return _TORCH_EXPORT_OPSETS
    return model.onnx_opsets


def _plan_model(model: ModelConfig, host: Host) -> ModelPlan:
    source = model.model_format
    assert source is not None, "the configuration resolves the format"
    cells: dict[str, Cell] = {}
    steps: dict[str, Step] = {}
    for configuration in configurations(model, opsets_of(model)):
        route = _route(model, source, configuration)
        cell = _cell(model, source, configuration, route, host)
        if cell.label in cells:
            cells[cell.label] = replace(cells[cell.label], merged=cells[cell.label].merged + 1)
            continue
        cells[cell.label] = cell
        if cell.state is None and route is not None:
            for step in _steps(source, route):
                steps.setdefault(step.label, step)
    return ModelPlan(
        config=model,
        source_format=source,
        steps=_with_raises(tuple(steps.values())),
        cells=tuple(cells.values()),
    )


def _route(model: ModelConfig, source: Format, configuration: Configuration) -> tuple[_Edge, ...] | None:
    """Return the edges from the source to the configuration's target format, or None if none lead there."""
    keys = _shortest(source, configuration.target_format)
    if keys is None:
        return None
    if source is Format.ONNX and configuration.target_format in _ENGINES and configuration.onnx_opset is not None:
        keys = ("onnx_to_onnx", *keys)
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


def _edge(key: str, model: ModelConfig, configuration: Configuration) -> _Edge:
    """Return the edge with the options that belong to it, and the label that tells them apart."""
    source, target = CONVERTERS[key].SOURCE, CONVERTERS[key].TARGET
    options: dict[str, Json] = {}
    segment = str(target)
    if target is Format.ONNX and configuration.onnx_opset is not None:
        options["opset"] = configuration.onnx_opset
        segment = f"onnx_op{configuration.onnx_opset}"
    if source is Format.TF_SAVEDMODEL and target is not Format.TF_SAVEDMODEL:
        options["signature_name"] = model.signature_name
    if configuration.precision is not None and target is configuration.target_format:
        segment, engine = _engine_options(model, configuration)
        options |= engine
    return _Edge(converter=key, segment=segment, options=options)


def _engine_options(model: ModelConfig, configuration: Configuration) -> tuple[str, dict[str, Json]]:
    """Return label and options of an engine. In fp32 there is nothing to fall back to, so modes do not differ."""
    precision, mode = configuration.precision, configuration.precision_mode
    segment = f"{configuration.target_format}_{precision}"
    options: dict[str, Json] = {
        "precision": precision,
        "max_workspace_size": model.tensorrt_max_workspace_size,
    }
    if configuration.target_format is Format.TF_TRT:
        return segment, options
    if precision is not Precision.FP32:
        segment = f"{segment}_{mode}"
        options["precision_mode"] = mode
    options["sparse_weights"] = model.tensorrt_sparse_weights
    options["explicit_precision"] = model.tensorrt_explicit_precision
    return segment, options


def _steps(source: Format, route: tuple[_Edge, ...]) -> Iterator[Step]:
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
        )
        parent, at = label, target


def _cell(
    model: ModelConfig, source: Format, configuration: Configuration, route: tuple[_Edge, ...] | None, host: Host
) -> Cell:
    requested = "target_formats" in model.given
    target = configuration.target_format
    if route is None:
        segment = str(target) if configuration.precision is None else _engine_options(model, configuration)[0]
        return Cell(
            label=segment,
            configuration=configuration,
            state=State.NOT_APPLICABLE,
            reason=f"no conversion leads from {source} to {target}",
            remedy=f"from {source} these can be made: {', '.join(reachable(source))}",
            requested=requested,
        )
    labels = tuple(step.label for step in _steps(source, route))
    if target in _GPU_FORMATS and model.engine_count_per_device and "gpu" not in model.engine_count_per_device:
        return Cell(
            label=labels[-1],
            configuration=configuration,
            steps=labels,
            state=State.NOT_APPLICABLE,
            reason=f"{target} needs a GPU, and engine_count_per_device names only the CPU",
            remedy="add gpu to engine_count_per_device, or leave it out",
            requested=requested,
        )
    unavailable = _unavailable(source, route, host)
    return Cell(
        label=labels[-1],
        configuration=configuration,
        steps=labels,
        state=State.UNAVAILABLE if unavailable else None,
        reason=unavailable.reason if unavailable else "",
        remedy=unavailable.remedy if unavailable else "",
        requested=requested,
    )


def reachable(source: Format) -> tuple[Format, ...]:
    """Return the target formats that `source` can be converted to."""
    return tuple(target for target in Format if _shortest(source, target) is not None)


def _unavailable(source: Format, route: tuple[_Edge, ...], host: Host) -> Unavailable | None:
    """Return the first reason why `host` cannot run the source model or one of the edges."""
    extra = _EXTRAS.get(source, "onnx")
    if source not in RUNNERS:
        return Unavailable(
            reason=f"nothing here can run a {source} model as the reference",
            remedy="give the model that it was built from",
        )
    reasons = [missing(RUNNERS[source].DISTRIBUTIONS, extra, host)]
    for edge in route:
        converter = CONVERTERS[edge.converter]
        reasons.append(converter.unavailable(host))
        if converter.TARGET in RUNNERS:
            reasons.append(missing(RUNNERS[converter.TARGET].DISTRIBUTIONS, extra, host))
    return next((reason for reason in reasons if reason is not None), None)


def _with_raises(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Order steps so that lower opsets come first, and name for each export the ones it may be raised from."""

    def lower(step: Step) -> tuple[str, ...]:
        if step.source_format is Format.ONNX or "opset" not in step.options:
            return ()
        siblings = [
            other
            for other in steps
            if other.converter == step.converter
            and other.parent == step.parent
            and other.options["opset"] < step.options["opset"]
        ]
        return tuple(other.label for other in sorted(siblings, key=lambda other: int(other.options["opset"])))

    ordered = sorted(steps, key=lambda step: (step.label.count("/"), step.options.get("opset", 0)))
    return tuple(replace(step, raise_from=lower(step)) for step in ordered)


def _needed(steps: tuple[Step, ...], cells: tuple[Cell, ...]) -> tuple[Step, ...]:
    labels = {label for cell in cells if cell.state is None for label in cell.steps}
    return tuple(
        replace(step, raise_from=tuple(label for label in step.raise_from if label in labels))
        for step in steps
        if step.label in labels
    )


def _matches(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
