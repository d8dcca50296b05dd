"""The conversions of a model as a markdown table, and those that were skipped. Pure."""

from collections.abc import Sequence

from navigator.records import CellResult, Comparison, State
from navigator.render.escape import code, row, text
from navigator.render.markdown_failures import MARKS, names, unbroken
from navigator.render.results import latency, opset, share, source_bytes, worst
from navigator.render.sentences import reductions
from navigator.render.values import count, milliseconds, number, percent, seconds, size, word
from navigator.report.summary import Group, ModelSummary
from navigator.verify.sentences import where

_HEAD = ["Conversion", "Status", "Worst output", "Max abs error (of tolerance)", "Size", "Convert", "Verify"]
_RULE = "|---|---|---|---|--:|--:|--:|"


def model_table(model: ModelSummary) -> str:
    """Return a model's conversions with their states, errors, sizes and times, failed ones first."""
    first = model.results[0].source_model_config
    source = str(first.model_format) if first is not None else ""
    passed = sum(result.status.state is State.PASSED for result in model.results)
    title = " · ".join(part for part in (code(model.name), source, f"{passed} of {len(model.results)} passed") if part)
    reduced = [f"- {text(sentence)}" for sentence in reductions(model)]
    return "\n".join([f"### {title}", "", *_table(model), *([""] if reduced else []), *reduced])


def skipped_table(skipped: Sequence[Group]) -> str:
    """Return what was not tried, folded, with the reasons."""
    rows = [
        row(
            [
                code(each.first.model_name),
                names(each),
                unbroken(f"{MARKS[each.first.status.state]} {word(each.first.status.state)}"),
                text(each.first.status.message),
                text(each.first.remedy),
            ]
        )
        for each in skipped
    ]
    total = count(sum(len(each.results) for each in skipped), "conversion")
    title = f"{total} skipped: not applicable or unavailable on this machine"
    head = [row(["Model", "Conversions", "Status", "Reason", "How to fix"]), "|---|---|---|---|---|"]
    table = "\n".join([*head, *rows])
    return f"<details>\n<summary>{title}</summary>\n\n{table}\n\n</details>"


def _table(model: ModelSummary) -> list[str]:
    more = {"Opset": opset, "Latency on the GPU": _latency}
    more = {name: column for name, column in more.items() if any(map(column, model.results))}
    rows = [_row(result, failed=True) for result in model.failed] + [_row(each, failed=False) for each in model.others]
    added = [[column(result) for column in more.values()] for result in model.results]
    body = [row([*cells, *extra]) for cells, extra in zip(rows, added, strict=True)]
    return [row([*_HEAD, *more]), f"{_RULE}{'--:|' * len(more)}", *body]


def _row(result: CellResult, *, failed: bool) -> list[str]:
    state = result.status.state
    status = unbroken(f"{MARKS[state]} {f'**{word(state)}**' if failed else word(state)}")
    furthest = worst(result.comparisons)
    return [
        code(result.conversion),
        f"{status}{' (cached)' if result.cached else ''}{' ⚠️' if result.warnings else ''}",
        f"{code(furthest.output, 60)}{where(furthest)}" if furthest is not None else "",
        _error(furthest) if furthest is not None else "",
        _size(result),
        unbroken(seconds(result.seconds.convert)) if result.seconds.convert else "",
        unbroken(seconds(result.seconds.verify)) if result.seconds.verify else "",
    ]


def _latency(result: CellResult) -> str:
    usual = latency(result)
    return f"{unbroken(milliseconds(usual.median_seconds))} ({text(usual.sample)})" if usual is not None else ""


def _error(comparison: Comparison) -> str:
    if comparison.problem:
        return text(comparison.problem, 80)
    return f"{number(comparison.max_abs_error)} ({unbroken(percent(share(comparison)))})"


def _size(result: CellResult) -> str:
    if result.output_model is None:
        return ""
    made, source = result.output_model.size_bytes, source_bytes(result)
    return f"{unbroken(size(made))} ({made / source:.2f}x)" if source else unbroken(size(made))
