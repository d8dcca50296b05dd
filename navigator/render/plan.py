"""A plan as text for people. Pure. Removes control characters from untrusted text."""

from collections.abc import Iterator

from navigator.records import Cell, Format, ModelPlan, Plan, State
from navigator.render.columns import left, width, wrapped
from navigator.render.not_made import not_made
from navigator.render.text import clean
from navigator.render.values import count

_UNPLANNED = {
    State.FAILED: "can't be planned",
    State.UNAVAILABLE: "unavailable on this machine",
    State.NOT_APPLICABLE: "not applicable",
}
# What one line tells if nobody asked for the conversion.
_UNASKED = (State.UNAVAILABLE, State.NOT_APPLICABLE)


def plan_text(plan: Plan, *, verbose: bool = False, columns: int | None = None) -> str:
    """Return the plan as text: every conversion with its steps, or why it can't run here and how to fix that.

    Default formats that nobody asked for and that aren't made share a line for each model, unless `verbose`. Lines
    longer than `columns` are wrapped.
    """
    models = (wrapped(_lines(model, verbose=verbose), columns) for model in plan.models)
    return "\n\n".join("\n".join(lines) for lines in models) + "\n"


def _lines(model: ModelPlan, *, verbose: bool) -> Iterator[str]:
    yield f"{clean(model.config.model_name)}: {model.source_format}, {clean(str(model.config.model_path))}"
    for note in (*model.notes, *_found_by_running(model)):
        yield f"  note: {clean(note)}"
    todo = [cell for cell in model.conversions if cell.state is None]
    unasked = [cell for cell in model.conversions if not verbose and not cell.requested and cell.state in _UNASKED]
    told = [cell for cell in model.conversions if cell not in unasked]
    columns = max((width(clean(cell.label)) for cell in told), default=0)
    if todo:
        yield f"  {count(len(todo), 'conversion')} planned"
        for cell in todo:
            yield _plan_line(model, cell, columns)
    for state, title in _UNPLANNED.items():
        cells = [cell for cell in told if cell.state is state]
        if cells:
            yield f"  {count(len(cells), 'conversion')} {title}"
        for reason, remedy in dict.fromkeys((cell.reason, cell.remedy) for cell in cells):
            for cell in cells:
                if (cell.reason, cell.remedy) == (reason, remedy):
                    yield _plan_line(model, cell, columns)
            yield f"      reason: {clean(reason)}"
            if remedy:
                yield f"      how to fix: {clean(remedy)}"
    if unasked:
        formats = not_made((cell.configuration.target_format, cell.reason) for cell in unasked)
        yield f"  not made: {formats}; `plan --verbose` says more"


def _plan_line(model: ModelPlan, cell: Cell, columns: int) -> str:
    return f"    {left(clean(cell.label), columns)}  {_chain(model, cell)}{_remarks(model, cell)}".rstrip()


def _chain(model: ModelPlan, cell: Cell) -> str:
    """Return the formats and steps of a conversion: the label of a step ends with its own part."""
    parts = [str(model.source_format)]
    before = ""
    for label in cell.steps:
        parts.append(clean(label.removeprefix(f"{before}/") if before else label))
        before = label
    return " → ".join(parts) if cell.steps else ""


def _remarks(model: ModelPlan, cell: Cell) -> str:
    own = next((step for step in model.steps if cell.steps and step.label == cell.steps[-1]), None)
    remarks = []
    if own is not None and own.raise_from:
        remarks.append(f"opset raised from {clean(own.raise_from[0])} if it passes")
    if cell.merged:
        remarks.append(f"covers {count(cell.merged, 'more configuration')}")
    if cell.state is not None and cell.requested:
        remarks.append("requested")
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _found_by_running(model: ModelPlan) -> Iterator[str]:
    """Say what `convert` finds out by running the model, as far as it's known without reading it."""
    config = model.config
    if not config.probe or config.samples:
        return
    if model.source_format is Format.TORCHSCRIPT and not config.inputs:
        yield "inputs and sizes of axes are found by running the model, since its file doesn't store them (probe)"
    elif not config.max_shapes and any(-1 in (spec.shape or ()) for spec in config.inputs):
        yield "sizes of axes that `inputs` leaves open are found by running the model (probe)"
    elif not config.max_shapes and not config.inputs:
        yield "if its file leaves sizes of axes open, they're found by running the model (probe)"
