"""From configuration to the tree of steps and the cells: pure, so that it can be printed, filtered and tested.

Owns the matrix (formats x opsets x modes x precisions), the routes through the graph of formats, labels, and why
a cell cannot run on a machine. Reads no model and imports no framework.
"""

from dataclasses import replace

from navigator.converters import CONVERTERS
from navigator.plan.matrix import configurations, opsets_of
from navigator.plan.placement import GPU_FORMATS, framework_image, gpus_of, idle_gpu, in_container, placed, unavailable
from navigator.plan.routes import Edge, engine_options, reachable, route_to, steps_along
from navigator.records import (
    Cell,
    Configuration,
    Format,
    Host,
    ModelConfig,
    ModelPlan,
    Plan,
    Precision,
    RunConfig,
    State,
    Step,
)


def plan(run: RunConfig, host: Host) -> Plan:
    """Return what converting every model of `run` on `host` takes."""
    return Plan(models=tuple(_plan_model(model, host) for model in run.models))


def _plan_model(model: ModelConfig, host: Host) -> ModelPlan:
    source = model.model_format
    assert source is not None, "the configuration resolves the format"
    host = replace(host, gpus=gpus_of(model, host))
    cells: dict[str, Cell] = {}
    steps: dict[str, Step] = {}
    for configuration in configurations(model, opsets_of(model)):
        route = route_to(model, source, configuration)
        cell = _cell(model, source, configuration, route, host)
        if cell.label in cells:
            cells[cell.label] = replace(cells[cell.label], merged=cells[cell.label].merged + 1)
            continue
        cells[cell.label] = cell
        if cell.state is None and route is not None:
            for step in steps_along(source, route):
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


def _cell(
    model: ModelConfig, source: Format, configuration: Configuration, route: tuple[Edge, ...] | None, host: Host
) -> Cell:
    requested = model.target_formats != "auto"
    target = configuration.target_format
    if route is None:
        segment = str(target) if configuration.precision is None else engine_options(model, configuration)[0]
        return Cell(
            label=segment,
            configuration=configuration,
            state=State.NOT_APPLICABLE,
            reason=f"no conversion leads from {source} to {target}",
            remedy=f"from {source} these can be made: {', '.join(reachable(source))}",
            requested=requested,
        )
    labels = tuple(step.label for step in steps_along(source, route))
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
