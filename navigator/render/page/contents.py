"""What the page of a report shows, as plain values for its template. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from navigator.records import CellResult, Change, Comparison, ConversionChange, Device, State
from navigator.render.changes import what
from navigator.render.escape import unbroken
from navigator.render.markdown_failures import MARKS
from navigator.render.page import charts
from navigator.render.page.charts import Bar, Errors, Figure
from navigator.render.reproduction import reproduction
from navigator.render.results import (
    agreement,
    allowed_atol,
    latency,
    metric,
    place,
    portion,
    share,
    source_bytes,
    suggestion_yaml,
    value,
    worst,
)
from navigator.render.sentences import recognised_weights, reductions, searches
from navigator.render.text import clean
from navigator.render.values import milliseconds, number, percent, seconds, size, word
from navigator.report.summary import ModelSummary, Summary, fails_run

# Drawing takes 0.05 s a model; those that fail come first.
MOST_CHARTS = 32
_OUTPUTS = 12

_COLUMNS = {
    "error": "Largest error",
    "share": "Of the tolerance",
    "size": "Size",
    "convert": "Convert",
    "verify": "Verify",
    "memory": "Peak memory",
    "latency": "Latency",
}

# Of other changes, the conversion's own message says what happened.
_TOLD = (Change.WORSE, Change.BETTER, Change.FIXED, Change.NOT_COMPARED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A cell of the table: what a reader sees, and what the table is sorted by, None for nothing."""

    shown: str
    key: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One output of a conversion, as text."""

    name: str
    passed: bool
    error: str
    allowed: str
    portion: str
    worst: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One conversion. `enters` is whether its error isn't in the model that it was converted from."""

    id: str
    model: str
    conversion: str
    depth: int
    mark: str
    state: str
    fails: bool
    change: str
    is_changed: bool
    was: str
    message: str
    remedy: str
    reproduce: str
    suggestion: str
    log: str
    warnings: tuple[str, ...]
    outputs: tuple[Output, ...]
    more_outputs: int
    agreement: str
    numbers: Mapping[str, Number]
    enters: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One model, its conversions in the order of their tree, and its charts as SVG."""

    id: str
    name: str
    format: str
    size: str
    passed: int
    entries: tuple[Entry, ...]
    told: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def fails(self) -> bool:
        return any(each.fails for each in self.entries)


def models(summary: Summary) -> tuple[Model, ...]:
    """Return the models that were tried, those that fail first."""
    changes = {} if summary.changes is None else {_key(each): each for each in summary.changes.conversions}
    ordered = sorted(enumerate(summary.models), key=lambda each: (not each[1].failed, each[0]))
    return tuple(
        _model(index, model, changes, is_drawn=place < MOST_CHARTS) for place, (index, model) in enumerate(ordered)
    )


def columns(shown: Sequence[Model]) -> dict[str, str]:
    """Return the titles of the columns of numbers in which any conversion has one."""
    known = [each.numbers for model in shown for each in model.entries]
    return {key: title for key, title in _COLUMNS.items() if any(numbers[key].shown for numbers in known)}


def _key(change: ConversionChange) -> tuple[str, str]:
    return change.model_name, change.conversion


def _model(
    index: int, model: ModelSummary, changes: Mapping[tuple[str, str], ConversionChange], *, is_drawn: bool
) -> Model:
    results = sorted(model.results, key=lambda each: each.steps or (each.conversion,))
    known = {each.conversion: each for each in results}
    entries = tuple(
        _entry(f"m{index}c{number}", each, known, changes.get((model.name, each.conversion)))
        for number, each in enumerate(results)
    )
    source = results[0].source_model_config
    return Model(
        id=f"m{index}",
        name=model.name,
        format=str(source.model_format) if source is not None else "",
        size=size(source.size_bytes) if source is not None and source.size_bytes else "",
        passed=sum(each.status.state is State.PASSED for each in results),
        entries=entries,
        told=(*reductions(model), *recognised_weights(model), *searches(model)),
        figures=tuple(_figures(model.name, results, changes)) if is_drawn else (),
    )


def _entry(id_: str, result: CellResult, known: Mapping[str, CellResult], change: ConversionChange | None) -> Entry:
    shown = sorted(result.comparisons, key=lambda each: (each.passed, -share(each)))
    log = result.status.log_path
    return Entry(
        id=id_,
        model=result.model_name,
        conversion=result.conversion,
        depth=max(0, len(result.steps) - 1),
        mark=MARKS[result.status.state],
        state=word(result.status.state),
        fails=fails_run(result),
        change=word(change.change) if change is not None else "",
        is_changed=change is not None and change.change not in (Change.UNCHANGED, Change.STILL_FAILING),
        was=what(change) if change is not None and change.change in _TOLD else "",
        message=result.status.message,
        remedy=result.remedy,
        reproduce=reproduction([result.reproduce]) if fails_run(result) and result.reproduce else "",
        suggestion=suggestion_yaml([result]),
        log=str(log) if log is not None else "",
        warnings=result.warnings,
        outputs=tuple(map(_output, shown[:_OUTPUTS])),
        more_outputs=max(0, len(shown) - _OUTPUTS),
        agreement="; ".join(filter(None, (agreement(result.comparisons), metric(result.metrics)))),
        numbers=_numbers(result),
        enters=_enters(result, known),
    )


def _enters(result: CellResult, known: Mapping[str, CellResult]) -> bool:
    """Return whether a conversion mismatches, and the converted model that it was made from doesn't."""
    parent = known.get(result.steps[-2]) if len(result.steps) > 1 else None
    if parent is None or result.status.state is not State.MISMATCHED:
        return False
    return parent.status.state is not State.MISMATCHED


def _output(comparison: Comparison) -> Output:
    element, error = comparison.worst, unbroken(number(comparison.max_abs_error))
    steps = f" after {comparison.steps[0]:,} to {comparison.steps[-1]:,} steps" if comparison.steps else ""
    return Output(
        name=f"{comparison.output}{steps}{' on the GPU' if comparison.device is not Device.CPU else ''}",
        passed=comparison.passed,
        error=comparison.problem or f"{error}, mean {unbroken(number(comparison.mean_abs_error))}",
        allowed=f"{allowed_atol(comparison)}, rtol {number(comparison.rtol)}",
        portion=portion(comparison),
        worst="" if element is None else f"{value(element.reference)} → {value(element.value)} at {place(element)}",
    )


def _numbers(result: CellResult) -> dict[str, Number]:
    worst_output = worst(result.comparisons)
    measured = share(worst_output) if worst_output is not None else None
    error = worst_output.max_abs_error if worst_output is not None else None
    built, timed = result.output_model, latency(result)
    memory = result.peak_memory_bytes
    return {
        "error": Number(shown="" if error is None else number(error), key=error),
        "share": Number(
            shown="" if measured is None else "not comparable" if math.isinf(measured) else percent(measured),
            key=None if measured is None else min(measured, 1e300),
        ),
        "size": Number(shown=size(built.size_bytes) if built else "", key=built.size_bytes if built else None),
        "convert": _time(result.seconds.convert),
        "verify": _time(result.seconds.verify),
        "memory": Number(shown=size(memory) if memory else "", key=memory),
        "latency": Number(
            shown=milliseconds(timed.median_seconds) if timed else "", key=timed.median_seconds if timed else None
        ),
    }


def _time(amount: float) -> Number:
    return Number(shown=seconds(amount) if amount else "", key=amount or None)


def _figures(
    name: str, results: Sequence[CellResult], changes: Mapping[tuple[str, str], ConversionChange]
) -> list[Figure]:
    """Return the charts of a model."""
    shown = clean(name)
    found = {each.conversion: changes.get((name, each.conversion)) for each in results}
    before = {label: change.before for label, change in found.items() if change is not None}
    rows = [
        Errors(
            name=f"{each.conversion} · {one.output}",
            comparison=one,
            before=_before(before.get(each.conversion), one),
        )
        for each in results
        for one in each.comparisons
        if not one.steps
    ]
    rows = sorted(rows, key=lambda row: -share(row.comparison))[: charts.MOST_ROWS]
    sizes = [_size(each, before.get(each.conversion)) for each in results if each.output_model is not None]
    source = source_bytes(results[0])
    timed = [Bar(name=each.conversion, value=one.median_seconds) for each in results if (one := latency(each))]
    drawn = (
        charts.errors(rows, f"Errors and tolerances of {shown}, logarithmic"),
        charts.distribution(rows, f"Elements of {shown} by error, in parts of their tolerance"),
        charts.sizes(
            ([Bar(name="source model", value=source)] if source else []) + sizes[: charts.MOST_ROWS],
            f"Sizes of {shown} and its conversions",
        ),
        charts.latencies(timed[: charts.MOST_ROWS], f"Latencies of {shown}'s conversions"),
    )
    return [each for each in drawn if each is not None]


def _before(result: CellResult | None, comparison: Comparison) -> float | None:
    """Return the largest error of the same output in the base."""
    if result is None:
        return None
    same = (
        each.max_abs_error
        for each in result.comparisons
        if (each.output, each.device, each.slices) == (comparison.output, comparison.device, comparison.slices)
        and not each.steps
    )
    return next(same, None)


def _size(result: CellResult, before: CellResult | None) -> Bar:
    assert result.output_model is not None
    earlier = before.output_model.size_bytes if before is not None and before.output_model is not None else None
    return Bar(name=result.conversion, value=result.output_model.size_bytes, before=earlier)
