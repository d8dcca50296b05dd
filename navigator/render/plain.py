"""Renders a report as lines of plain text with styles, for terminals and logs.

Pure. Removes control characters from untrusted text.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import CellResult, Change, Comparison, FoundShapes, State
from navigator.render import changes
from navigator.render.columns import aligned, cut, fitted, left, right
from navigator.render.not_made import not_made
from navigator.render.results import (
    agreement,
    allowed_atol,
    errors,
    latency,
    metric,
    place,
    portion,
    share,
    suggestion_yaml,
    value,
    worst,
)
from navigator.render.sentences import recognised_weights, reductions, searches, tally, verdict
from navigator.render.text import clean, lines, shorten
from navigator.render.values import count, milliseconds, number, seconds, size, word
from navigator.report.storage import SUMMARY
from navigator.report.summary import Group, Summary
from navigator.samples.found import KEEP, block, finding
from navigator.verify.sentences import broken_gates, where

_FAILED, _PASSED, _WARNED, _HEADING, _QUIET = "bold red", "green", "yellow", "bold", "dim"

_STYLES = {Change.BROKEN: _WARNED, Change.WORSE: _WARNED, Change.REMOVED: _WARNED, Change.FIXED: _PASSED}

# As in the markdown summary, only the worst of hundreds of outputs are shown.
_OUTPUTS = 5

_HEAD = ("model", "conversion", "status", "worst output", "size", "convert", "verify")
_TEXTS = 4
_MODEL, _CONVERSION, _, _WORST, _SIZE, _CONVERT, _VERIFY = range(len(_HEAD))
# What a narrow terminal shortens, with the least that is left of it.
_SHRINK = {_WORST: 12, _CONVERSION: 14, _MODEL: 8}


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its style on a terminal."""

    text: str
    style: str = ""


def result_line(
    result: CellResult, *, failed: bool, widths: tuple[int, int] = (0, 0), columns: int | None = None
) -> Line:
    """Return the result of a conversion as one line.

    Args:
        result: the result.
        failed: whether it fails the run.
        widths: minimum widths of the model's name and the conversion's label.
        columns: the most that the line may have; None: it may be of any length.
    """
    spent = result.seconds.convert + result.seconds.verify
    furthest = worst(result.comparisons)
    if furthest is not None and (result.status.state is State.PASSED or furthest.max_abs_error is not None):
        what = ", ".join(filter(None, (metric(result.metrics), errors(furthest))))
    else:
        what = shorten(clean(result.status.message), 200)
    parts = [
        left(clean(result.model_name), widths[0]),
        left(clean(result.conversion), widths[1]),
        left(word(result.status.state), 10),
        right("cached" if result.cached else seconds(spent), 8),
        clean(what),
    ]
    text = "  ".join(parts).rstrip()
    return Line(text if columns is None else cut(text, columns), _style(result, failed=failed))


def summary_lines(summary: Summary, columns: int | None = None) -> Iterator[Line]:
    """Yield the report line by line, failed conversions first, the verdict last; its table fits into `columns`."""
    yield Line("")
    for result in (each for group in summary.failures for each in group.results):
        yield from _failure(result)
        yield Line("")
    for group in summary.downstream:
        yield from _reason(group)
        yield Line("")
    yield from _warnings(summary)
    yield from _table(summary, columns)
    for group in summary.unverified:
        yield Line(f"{clean(group.first.model_name)}: not verified: {_names(group)}", _WARNED)
        yield Line(f"  {clean(group.first.status.message)}", _WARNED)
    for group in summary.skipped:
        if group.first.requested:
            yield from _skipped(group)
    yield from _not_made(summary)
    yield from _remedies(summary)
    for model in summary.models:
        for sentence in reductions(model):
            yield Line(f"{clean(model.name)}: {clean(sentence)}", _WARNED)
        for sentence in (*recognised_weights(model), *searches(model)):
            yield Line(f"{clean(model.name)}: {clean(sentence)}", _QUIET)
    for note in (*summary.report.notes, *summary.report.environment.notes):
        yield Line(clean(note))
    for found in summary.report.found:
        yield from _found(found)
    yield from change_lines(summary)
    shard = f"; shard {clean(summary.report.shard)}" if summary.report.shard else ""
    said = verdict(summary)
    style = _HEADING if summary.exit_code is ExitCode.OK else _FAILED
    yield Line(f"{said}: {tally(summary, said)}{shard}", style)


def change_lines(summary: Summary) -> Iterator[Line]:
    """Yield what changed since the base: the regressions first, each with its reason."""
    if told := changes.uncompared(summary):
        yield Line(told, _WARNED)
    found = summary.changes
    if found is None or not found.baseline.found:
        return
    yield Line("")
    yield Line(f"Compared with {changes.against(found.baseline)}: {changes.counted(found)}", _HEADING)
    for row in changes.rows(found, *changes.SHOWN):
        accepted = f"; accepted: {clean(row.accepted)}" if row.accepted else ""
        style = _FAILED if row.is_regression else _STYLES.get(row.change, _QUIET)
        yield Line(f"  {word(row.change)}: {row.title}{': ' if row.what else ''}{row.what}{accepted}", style)
    for name, key in found.keys:
        accepted = f"; accepted: {clean(key.accepted)}" if key.accepted else ""
        yield Line(f"  {changes.option(name, key)}{accepted}", _FAILED if key.is_regression else _QUIET)
    for sentence in changes.remarks(found):
        yield Line(f"  {sentence}", _QUIET)


def _found(found: FoundShapes) -> Iterator[Line]:
    yield Line(f"{clean(found.model_name)}: {clean(finding(found))}")
    yield Line(f"  {KEEP}:")
    for line in block(found):
        yield Line(f"    {clean(line)}")


def _style(result: CellResult, *, failed: bool) -> str:
    if failed:
        return _FAILED
    return _PASSED if result.status.state is State.PASSED else _WARNED


def _names(group: Group) -> str:
    return ", ".join(map(clean, group.conversions))


def _failure(result: CellResult) -> Iterator[Line]:
    state = word(result.status.state).upper()
    yield Line(f"{clean(result.model_name)}  {clean(result.conversion)}  {state}", _FAILED)
    if result.status.message:
        yield Line(f"  {clean(result.status.message)}")
    failing = sorted((each for each in result.comparisons if not each.passed), key=share, reverse=True)
    for comparison in failing[:_OUTPUTS]:
        yield from (Line(f"  {line}") for line in _comparison(comparison, said=result.status.message))
    if len(failing) > _OUTPUTS:
        yield Line(f"  and {count(len(failing) - _OUTPUTS, 'more output')}")
    if result.remedy:
        yield Line(f"  how to fix: {clean(result.remedy)}")
    if suggested := suggestion_yaml([result]):
        yield Line("  the tightest tolerances that pass, if errors of this size are acceptable:")
        yield from (Line(f"    {line}") for line in lines(suggested))
    if result.reproduce:
        yield Line(f"  reproduce: {clean(result.reproduce)}")
    if result.status.log_path is not None:
        yield Line(f"  log: {clean(str(result.status.log_path))}")


def _reason(group: Group) -> Iterator[Line]:
    first = group.first
    yield Line(f"{clean(first.model_name)}  {_names(group)}  {word(first.status.state).upper()}", _FAILED)
    yield Line(f"  {clean(first.status.message)}")
    if first.remedy:
        yield Line(f"  how to fix: {clean(first.remedy)}")
    if first.status.log_path is not None:
        yield Line(f"  log: {clean(str(first.status.log_path))}")


def _skipped(group: Group) -> Iterator[Line]:
    first = group.first
    labels = shorten(_names(group), 100)
    yield Line(f"{clean(first.model_name)}: {word(first.status.state)}: {labels}", _QUIET)
    remedy = f"; {clean(first.remedy)}" if first.remedy else ""
    yield Line(f"  {clean(first.status.message)}{remedy}", _QUIET)


def _not_made(summary: Summary) -> Iterator[Line]:
    """Yield one line a model for the default formats that it isn't converted to; the page has the remedies."""
    by_model: dict[str, list[tuple[str, str]]] = {}
    for result in (each for group in summary.skipped for each in group.results if not group.first.requested):
        target = result.conversion_config.target_format if result.conversion_config else result.conversion
        by_model.setdefault(result.model_name, []).append((target, result.status.message))
    for name, skipped in by_model.items():
        yield Line(f"{clean(name)}: not made: {not_made(skipped)}; {SUMMARY} says more", _QUIET)


def _remedies(summary: Summary) -> Iterator[Line]:
    """Yield what makes default formats possible, if that's all that there is to say."""
    firsts = [] if summary.tried else [group.first for group in summary.skipped]
    unavailable = [each for each in firsts if each.status.state is State.UNAVAILABLE and not each.requested]
    for remedy in dict.fromkeys(each.remedy for each in unavailable if each.remedy):
        yield Line(f"how to fix: {clean(remedy)}")


def _warnings(summary: Summary) -> Iterator[Line]:
    if not summary.warnings:
        return
    yield Line("Warnings:", _WARNED)
    for each in summary.warnings:
        who = f"{clean(each.checked.first.model_name)}  {_names(each.checked)}"
        yield Line(f"  {who}: {clean(each.warning)}", _WARNED)
    yield Line("")


def _comparison(comparison: Comparison, *, said: str) -> Iterator[str]:
    name = f"{clean(comparison.output)}{where(comparison)}"
    if comparison.problem and comparison.problem not in said:
        yield f"{name}: {clean(comparison.problem)}"
    if comparison.max_abs_error is not None:
        relative = f"max rel {number(comparison.max_rel_error)} (rtol {number(comparison.rtol)})"
        absolute = f"max abs {number(comparison.max_abs_error)} ({allowed_atol(comparison)})"
        yield f"{name}: {absolute}, {relative}, {portion(comparison)} out of tolerance"
    if kept := agreement([comparison]):
        yield f"  {kept}"
    if gates := broken_gates(comparison):
        yield f"  {gates}"
    if comparison.worst is not None:
        element = comparison.worst
        source, converted = clean(value(element.reference)), clean(value(element.value))
        yield f"  worst at {clean(place(element))}: {source} in the source model, {converted} converted"


def _table(summary: Summary, columns: int | None) -> Iterator[Line]:
    reduced = any(agreement(result.comparisons) for model in summary.models for result in model.results)
    timed = any(result.latencies for model in summary.models for result in model.results)
    judged = any(result.metrics for model in summary.models for result in model.results)
    optional = (("latency", timed), ("agreement", reduced), ("metric", judged))
    rows = [(*_HEAD, *(name for name, shown in optional if shown))]
    styles = [_HEADING]
    for model in summary.models:
        for failed, results in ((True, model.failed), (False, model.others)):
            rows += [_row(result, timed=timed, reduced=reduced, judged=judged) for result in results]
            styles += [_style(result, failed=failed) for result in results]
    if len(rows) == 1:
        return
    fit = rows if columns is None else fitted(rows, columns, shrink=_SHRINK, drop=_drop(len(rows[0])))
    for line, style in zip(aligned(fit, texts=_TEXTS), styles, strict=True):
        yield Line(line, style)
    yield Line("")


def _drop(count: int) -> list[int]:
    """Return the columns of the table that matter least, the least first: times, size, then what reduces."""
    return [_CONVERT, _VERIFY, _SIZE, *range(len(_HEAD), count)]


def _row(result: CellResult, *, timed: bool, reduced: bool, judged: bool) -> tuple[str, ...]:
    furthest = worst(result.comparisons)
    made = result.output_model
    status = word(result.status.state)
    return (
        clean(result.model_name),
        clean(result.conversion),
        f"{status} (cached)" if result.cached else status,
        _worst(furthest) if furthest is not None else "",
        size(made.size_bytes) if made is not None else "",
        seconds(result.seconds.convert) if result.seconds.convert else "",
        seconds(result.seconds.verify) if result.seconds.verify else "",
        *((_latency(result),) if timed else ()),
        *((agreement(result.comparisons),) if reduced else ()),
        *((clean(metric(result.metrics)),) if judged else ()),
    )


def _latency(result: CellResult) -> str:
    usual = latency(result)
    return f"{milliseconds(usual.median_seconds)} ({clean(usual.sample)})" if usual is not None else ""


def _worst(comparison: Comparison) -> str:
    name = f"{shorten(clean(comparison.output), 24)}{where(comparison)}"
    return f"{name}: {shorten(clean(errors(comparison)), 48)}"
