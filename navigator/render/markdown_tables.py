"""Renders the conversions of a model, and the skipped ones, as markdown tables. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from navigator.records import CellResult, State
from navigator.render.escape import code, row, text, unbroken
from navigator.render.markdown_failures import MARKS, names
from navigator.render.results import agreement, latency, metric, opset, share, source_bytes, worst
from navigator.render.sentences import recognised_weights, reductions, searches
from navigator.render.values import count, milliseconds, number, percent, seconds, size, word
from navigator.report.summary import Group, ModelSummary
from navigator.verify.sentences import where


def model_table(model: ModelSummary) -> str:
    """Return a model's conversions with their states, errors, sizes and times, failed ones first."""
    first = model.results[0].source_model_config
    source = str(first.model_format) if first is not None else ""
    passed = sum(result.status.state is State.PASSED for result in model.results)
    title = " · ".join(part for part in (code(model.name), source, f"{passed} of {len(model.results)} passed") if part)
    told = [f"- {text(sentence)}" for sentence in (*reductions(model), *recognised_weights(model), *searches(model))]
    return "\n".join([f"### {title}", "", *_table(model), *([""] if told else []), *told])


def skipped_table(skipped: Sequence[Group]) -> str:
    """Return the skipped conversions with the reasons."""
    rows = [
        row(
            [
                code(each.first.model_name),
                names(each.conversions),
                unbroken(f"{MARKS[each.first.status.state]} {word(each.first.status.state)}"),
                text(each.first.status.message),
                text(each.first.remedy),
            ]
        )
        for each in skipped
    ]
    total = count(sum(len(each.results) for each in skipped), "conversion")
    head = [row(["Model", "Conversions", "Status", "Reason", "How to fix"]), "|---|---|---|---|---|"]
    return "\n".join([f"### {total} skipped: not applicable or unavailable on this machine", "", *head, *rows])


def _table(model: ModelSummary) -> list[str]:
    columns = [column for column in _COLUMNS if any(map(column.cell, model.results))]
    return [
        row(["Conversion", "Status", *(column.title for column in columns)]),
        f"|---|---|{''.join(f'{column.rule}|' for column in columns)}",
        *(_row(result, columns, failed=True) for result in model.failed),
        *(_row(result, columns, failed=False) for result in model.others),
    ]


def _row(result: CellResult, columns: Sequence["_Column"], *, failed: bool) -> str:
    state = result.status.state
    status = unbroken(f"{MARKS[state]} {f'**{word(state)}**' if failed else word(state)}")
    marks = f"{' (cached)' if result.cached else ''}{' ⚠️' if result.warnings else ''}"
    return row([code(result.conversion), f"{status}{marks}", *(column.cell(result) for column in columns)])


def _worst_output(result: CellResult) -> str:
    furthest = worst(result.comparisons)
    return f"{code(furthest.output, 60)}{where(furthest)}" if furthest is not None else ""


def _error(result: CellResult) -> str:
    furthest = worst(result.comparisons)
    if furthest is None or furthest.problem:
        return text(furthest.problem, 80) if furthest is not None else ""
    return f"{number(furthest.max_abs_error)} ({unbroken(percent(share(furthest)))})"


def _size(result: CellResult) -> str:
    if result.output_model is None:
        return ""
    made, source = result.output_model.size_bytes, source_bytes(result)
    return f"{unbroken(size(made))} ({made / source:.2f}x)" if source else unbroken(size(made))


def _duration(amount: float) -> str:
    return unbroken(seconds(amount)) if amount else ""


def _latency(result: CellResult) -> str:
    usual = latency(result)
    return f"{unbroken(milliseconds(usual.median_seconds))} ({text(usual.sample)})" if usual is not None else ""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that is shown if any conversion of the model has something in it."""

    title: str
    rule: str
    cell: Callable[[CellResult], str]


_COLUMNS = (
    _Column("Metric", "---", lambda result: text(metric(result.metrics))),
    _Column("Worst output", "---", _worst_output),
    _Column("Max abs error (of tolerance)", "---", _error),
    _Column("Agreement", "---", lambda result: text(agreement(result.comparisons))),
    _Column("Size", "--:", _size),
    _Column("Convert", "--:", lambda result: _duration(result.seconds.convert)),
    _Column("Verify", "--:", lambda result: _duration(result.seconds.verify)),
    _Column("Opset", "--:", opset),
    _Column("Latency on the GPU", "--:", _latency),
)
