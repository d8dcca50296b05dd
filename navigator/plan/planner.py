"""Turns a configuration into a tree of steps and its cells, which can be printed, filtered and tested.

Decides about labels and the steps of a cell; `navigator.plan.placement` decides where they run, or why they can't.
Of a model it reads the names of its operators, if the user chose no opset, and whether it takes or returns text. It
runs nothing and imports no framework.
"""

import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from navigator.converters.protocol import engine_segment
from navigator.errors import ConfigurationError, NavigatorError, listed
from navigator.frameworks import opsets
from navigator.frameworks.opsets import Raised
from navigator.models import structure
from navigator.models.texts import TEXT_ADVICE, text_for_engines, text_in
from navigator.plan.matrix import configurations, formats_of
from navigator.plan.placement import place
from navigator.plan.routes import reachable, steps_to
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
    """Return the plan for converting every model of `run` on `host`.

    Raises:
        ConfigurationError: a model asks for what this machine doesn't have, see `place`.
    """
    return Plan(models=tuple(_planned(model, host) for model in run.models))


def notes_of(plan: Plan) -> tuple[str, ...]:
    """Return the notes about models, each once, with the models that it is about if it isn't about all."""
    about: dict[str, list[str]] = {}
    for model in plan.models:
        for note in model.notes:
            about.setdefault(note, []).append(model.config.model_name)
    return tuple(
        note if len(names) == len(plan.models) > 1 else f"{listed(names)}: {note}" for note, names in about.items()
    )


def _planned(model: ModelConfig, host: Host) -> ModelPlan:
    """Return the plan of a model; an internal error in it fails this model only, in the results."""
    try:
        return _plan_model(model, host)
    except NavigatorError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the other models are not its
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        reason = f"internal error while planning: {type(error).__name__}: {error} ({place})"
    return ModelPlan(
        config=model,
        source_format=_source_of(model),
        steps=(),
        conversions=tuple(
            Cell(
                label=target,
                configuration=Configuration(target_format=target),
                state=State.FAILED,
                reason=reason,
                remedy="please report it, with this message and your navigator.yaml",
                requested=True,
            )
            for target in formats_of(model)
        ),
    )


def _plan_model(model: ModelConfig, host: Host) -> ModelPlan:
    source = _source_of(model)
    cells: dict[str, Cell] = {}
    steps: dict[str, Step] = {}
    needed = _needed_opset(model, source)
    for configuration in configurations(model):
        exported = configuration if needed is None else replace(configuration, onnx_opset=needed.opset)
        way = steps_to(model, source, exported)
        cell = _not_applicable(model, source, configuration) if way is None else _cell(model, configuration, way)
        if cell.label in cells:
            cells[cell.label] = replace(cells[cell.label], merged=cells[cell.label].merged + 1)
            continue
        cells[cell.label] = cell
        for step in way or ():
            steps.setdefault(step.label, step)
    tree = ModelPlan(config=model, source_format=source, steps=tuple(steps.values()), conversions=tuple(cells.values()))
    placed = _without_text(place(tree, host))
    takes = needed is not None and any(step.opset == needed.opset for step in placed.steps)
    notes = (str(needed), *placed.notes) if takes else placed.notes
    return replace(placed, steps=_with_raises(placed.steps), conversions=_with_intermediates(placed), notes=notes)


def _without_text(tree: ModelPlan) -> ModelPlan:
    """Return a plan without the conversions that a model's text keeps from being made."""
    model, source = tree.config, tree.source_format
    todo = {cell.configuration.target_format for cell in tree.conversions if cell.state is None}
    if source is not Format.TF_SAVEDMODEL and not (source is Format.ONNX and todo - {Format.ONNX}):
        return tree
    try:
        stored = structure.read(model.model_path, source, model.signature_name, operators=False)
    except (OSError, ConfigurationError):  # the run tells
        return tree
    all_, engines = text_in(stored), text_for_engines(stored)
    behind = "convert the part behind the operators that read text, e.g. with onnx.utils.extract_model"

    def decided(cell: Cell) -> Cell:
        if cell.state is None and all_:
            return replace(cell, state=State.FAILED, reason=all_, remedy=TEXT_ADVICE)
        if cell.state is None and engines and cell.configuration.target_format is not Format.ONNX:
            return replace(cell, state=State.NOT_APPLICABLE, reason=engines, remedy=behind)
        return cell

    cells = tuple(map(decided, tree.conversions))
    needed = {label for cell in cells if cell.state is None for label in cell.steps}
    return replace(tree, conversions=cells, steps=tuple(step for step in tree.steps if step.label in needed))


def _needed_opset(model: ModelConfig, source: Format) -> Raised | None:
    """Return the opset that the model's operators need; None if the user chose, the default does, or nothing tells."""
    if source not in opsets.NEEDED or not isinstance(model.onnx_opsets, str):
        return None
    try:
        return opsets.raised(source, structure.read(model.model_path, source, model.signature_name).operators)
    except (OSError, ConfigurationError):  # the run tells
        return None


def _source_of(model: ModelConfig) -> Format:
    assert model.model_format is not None, "the configuration resolves the format"
    return model.model_format


def _cell(model: ModelConfig, configuration: Configuration, way: Sequence[Step]) -> Cell:
    opset = next((step.opset for step in way if step.opset is not None), configuration.onnx_opset)
    return Cell(
        label=way[-1].label,
        configuration=replace(configuration, onnx_opset=opset),
        steps=tuple(step.label for step in way),
        requested=_is_requested(model),
    )


def _not_applicable(model: ModelConfig, source: Format, configuration: Configuration) -> Cell:
    return Cell(
        label=engine_segment(configuration),
        configuration=configuration,
        state=State.NOT_APPLICABLE,
        reason=f"{source} can't be converted to {configuration.target_format}",
        remedy=_instead(source),
        requested=_is_requested(model),
    )


def _instead(source: Format) -> str:
    targets = reachable(source)
    return f"{source} can be converted to {', '.join(targets)}" if targets else "use the model it was built from"


def _is_requested(model: ModelConfig) -> bool:
    return model.target_formats != "auto"


def _with_intermediates(plan: ModelPlan) -> tuple[Cell, ...]:
    """Add a cell for every step that other cells depend on, so that its failure is shown."""
    shown: dict[str, Cell] = {}
    steps = {step.label: step for step in plan.steps}
    labels = {cell.label for cell in plan.conversions}
    for cell in plan.conversions:
        for label in cell.steps if cell.state is None else ():
            if label not in labels and label not in shown:
                step = steps[label]
                shown[label] = Cell(
                    label=label,
                    configuration=Configuration(
                        target_format=step.target_format,
                        onnx_opset=cell.configuration.onnx_opset,
                        precision=None if step.precision is Precision.FP32 else step.precision,
                    ),
                    steps=cell.steps[: cell.steps.index(label) + 1],
                    requested=cell.requested,
                    intermediate=True,
                )
        shown[cell.label] = cell
    return tuple(shown.values())


def _with_raises(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Order steps so that lower opsets come first, and set which exports each one can be raised from."""
    ordered = sorted(steps, key=lambda step: (step.label.count("/"), step.opset or 0))
    return tuple(replace(step, raise_from=_lower_exports(step, ordered)) for step in ordered)


def _lower_exports(step: Step, ordered: Sequence[Step]) -> tuple[str, ...]:
    """Return the labels of the same export at lower opsets; converting ONNX to another opset is not an export."""
    if step.opset is None or step.source_format is step.target_format:
        return ()
    return tuple(
        other.label
        for other in ordered
        if (other.converter, other.parent) == (step.converter, step.parent) and (other.opset or 0) < step.opset
    )
