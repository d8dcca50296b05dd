"""The part of a plan that the user selected. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from navigator.errors import NothingToDoError, listed
from navigator.records import (
    Cell,
    ModelPlan,
    Plan,
    Step,
)


def select(plan: Plan, *, models: Sequence[str] = (), conversions: Sequence[str] = ()) -> Plan:
    """Return the part of `plan` whose model names and conversions match any of the globs; () matches all."""
    kept = []
    for model in plan.models:
        if not _matches(model.config.model_name, models):
            continue
        chosen = tuple(cell for cell in model.conversions if _matches(cell.label, conversions))
        if chosen:
            kept.append(_with_steps(model, chosen))
    return Plan(models=tuple(kept))


def chosen(plan: Plan, *, models: Sequence[str], conversions: Sequence[str]) -> Plan:
    """Return the part of `plan` that the user selected, as `select`.

    Raises:
        NothingToDoError: nothing is left, or a glob matches nothing: otherwise, a misspelled name next to a correct
            one would go unnoticed.
    """
    strange = [glob for glob in models if not select(plan, models=[glob]).models]
    if strange:
        known = listed(model.config.model_name for model in plan.models)
        raise NothingToDoError(f"no model matches {listed(strange)}", f"the models are {known}")
    strange = [glob for glob in conversions if not select(plan, conversions=[glob]).models]
    found = select(plan, models=models, conversions=conversions)
    if strange or not found.models:
        of = f" of models {' '.join(models)}" if models and not strange else ""
        known = listed(f"{model.config.model_name}/{cell.label}" for model in plan.models for cell in model.conversions)
        raise NothingToDoError(
            f"no conversion{of} matches {listed(strange or conversions or '*')}", f"the conversions are {known}"
        )
    return found


def among(plan: Plan, wanted: Collection[tuple[str, str]]) -> Plan:
    """Return the part of `plan` with these conversions, each a model's name and a label.

    Raises:
        NothingToDoError: nothing is left.
    """
    kept = []
    for model in plan.models:
        cells = tuple(cell for cell in model.conversions if (model.config.model_name, cell.label) in wanted)
        if cells:
            kept.append(_with_steps(model, cells))
    if not kept:
        raise NothingToDoError(
            "no conversion is left that failed in the last results", "run `model-navigator convert` for all of them"
        )
    return Plan(models=tuple(kept))


def left_out(whole: Plan, chosen: Plan) -> Mapping[str, tuple[str, ...]]:
    """Return the labels of the conversions in `whole` that aren't in `chosen`, by model, without intermediate ones."""
    kept = {(model.config.model_name, cell.label) for model in chosen.models for cell in model.conversions}
    found: dict[str, tuple[str, ...]] = {}
    for model in whole.models:
        name = model.config.model_name
        labels = (cell.label for cell in model.conversions if not cell.intermediate)
        if missing := tuple(label for label in labels if (name, label) not in kept):
            found[name] = missing
    return found


def part(model: ModelPlan, cells: tuple[Cell, ...]) -> ModelPlan:
    """Return `model` with only these cells, and the steps that they need."""
    return replace(model, conversions=cells, steps=_needed(model.steps, cells))


def _with_steps(model: ModelPlan, cells: tuple[Cell, ...]) -> ModelPlan:
    """Return `model` with only these cells, and those on the way to them."""
    on_the_way = {label for cell in cells if cell.state is None for label in cell.steps}
    return part(model, tuple(cell for cell in model.conversions if cell in cells or cell.label in on_the_way))


def _needed(steps: tuple[Step, ...], cells: tuple[Cell, ...]) -> tuple[Step, ...]:
    labels = {label for cell in cells if cell.state is None for label in cell.steps}
    return tuple(
        replace(step, raise_from=tuple(label for label in step.raise_from if label in labels))
        for step in steps
        if step.label in labels
    )


def _matches(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
