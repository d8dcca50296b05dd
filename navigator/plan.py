"""From configuration to the tree of steps and the cells: pure, so that it can be printed, filtered and tested.

Owns the matrix (formats x opsets x modes x precisions), the routes through the graph of formats, labels, and why
a cell cannot run on a machine. Reads no model and imports no framework.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from navigator.converters import CONVERTERS
from navigator.errors import NothingToDoError
from navigator.placement import GPU_FORMATS, framework_image, gpus_of, idle_gpu, in_container, placed, unavailable
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

# torch.onnx writes opset 18 whatever lower one it is asked for, so the design document's 14 is no default for it.
_TORCH_EXPORT_OPSETS = (18,)

# Engines of strongly typed networks: their precision is the ONNX graph's, made by a step of its own.
_TYPED = (Format.TRT, Format.TRT_RTX)
_ENGINES = (*_TYPED, Format.TORCH_TRT)
_TYPED_ONNX = "onnx_to_typed_onnx"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Edge:
    """One edge of a route with the label and the options that a configuration gives it."""

    converter: str
    segment: str
    options: dict[str, Json]
    precision: Precision = Precision.FP32


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
            on_the_way = {label for cell in chosen if cell.state is None for label in cell.steps}
            shown = tuple(cell for cell in model.cells if cell in chosen or cell.label in on_the_way)
            kept.append(part(model, shown))
    return Plan(models=tuple(kept))


def chosen(plan: Plan, *, models: Sequence[str], cells: Sequence[str]) -> Plan:
    """Return what users chose of `plan`, as `select`.

    Raises:
        NothingToDoError: no cell is left, or a glob matches nothing: a name that is spelled wrong beside a right one
            would not be missed.
    """
    found = select(plan, models=models, cells=cells)
    idle = [f"models {glob}" for glob in models if not select(plan, models=[glob]).models]
    idle += [f"cells {glob}" for glob in cells if not select(plan, cells=[glob]).models]
    if idle or not found.models:
        wanted = idle or [f"models {' '.join(models) or '*'}", f"cells {' '.join(cells) or '*'}"]
        known = [f"{model.config.model_name}: {', '.join(cell.label for cell in model.cells)}" for model in plan.models]
        raise NothingToDoError(f"no cell matches {', '.join(wanted)}", "the cells are\n    " + "\n    ".join(known))
    return found


def part(model: ModelPlan, cells: tuple[Cell, ...]) -> ModelPlan:
    """Return `model` with these of its cells only, and the steps that they need."""
    return replace(model, cells=cells, steps=_needed(model.steps, cells))


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
    host = replace(host, gpus=gpus_of(model, host))
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
                steps.setdefault(step.label, placed(model, source, step, host))
    return ModelPlan(
        config=model,
        source_format=source,
        steps=_with_raises(tuple(steps.values())),
        cells=_with_intermediates(tuple(cells.values()), steps),
        gpus=host.gpus,
        notes=idle_gpu(tuple(steps.values()), host),
        image=framework_image(model, source) if in_container(model, None) else None,
    )


def _with_intermediates(cells: tuple[Cell, ...], steps: dict[str, Step]) -> tuple[Cell, ...]:
    """Add a cell for every step that others are made from: what went wrong on the way is then shown where it did."""
    shown: dict[str, Cell] = {}
    labels = {cell.label for cell in cells}
    for cell in cells:
        for label in cell.steps if cell.state is None else ():
            if label not in labels and label not in shown:
                step = steps[label]
                opset = cell.configuration.onnx_opset
                shown[label] = Cell(
                    label=label,
                    configuration=Configuration(
                        target_format=step.target_format,
                        onnx_opset=opset,
                        precision=None if step.precision is Precision.FP32 else step.precision,
                    ),
                    steps=cell.steps[: cell.steps.index(label) + 1],
                    requested=cell.requested,
                    intermediate=True,
                )
        shown[cell.label] = cell
    return tuple(shown.values())


def _route(model: ModelConfig, source: Format, configuration: Configuration) -> tuple[_Edge, ...] | None:
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


def _edge(key: str, model: ModelConfig, configuration: Configuration) -> _Edge:
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
        segment, engine = _engine_options(model, configuration)
        options |= engine
        precision = configuration.precision
    return _Edge(converter=key, segment=segment, options=options, precision=precision)


def _typed_onnx(model: ModelConfig, configuration: Configuration) -> _Edge:
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
    return _Edge(converter=_TYPED_ONNX, segment=segment, options=options, precision=precision)


def _engine_options(model: ModelConfig, configuration: Configuration) -> tuple[str, dict[str, Json]]:
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
            precision=edge.precision,
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
    if target in GPU_FORMATS and model.engine_count_per_device and "gpu" not in model.engine_count_per_device:
        return Cell(
            label=labels[-1],
            configuration=configuration,
            steps=labels,
            state=State.NOT_APPLICABLE,
            reason=f"{target} needs a GPU, and engine_count_per_device names only the CPU",
            remedy="add gpu to engine_count_per_device, or leave it out",
            requested=requested,
        )
    lacking = unavailable(model, source, [CONVERTERS[edge.converter] for edge in route], host)
    return Cell(
        label=labels[-1],
        configuration=configuration,
        steps=labels,
        state=State.UNAVAILABLE if lacking else None,
        reason=lacking.reason if lacking else "",
        remedy=lacking.remedy if lacking else "",
        requested=requested,
    )


def reachable(source: Format) -> tuple[Format, ...]:
    """Return the target formats that `source` can be converted to."""
    return tuple(target for target in Format if _shortest(source, target) is not None)


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
