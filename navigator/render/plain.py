"""A report as lines of plain text with their styles: what a terminal and a log show alike.

Pure. Foreign text is stripped of control characters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from navigator.records import CellResult, Comparison, Report, State
from navigator.render import text as words
from navigator.render.text import clean
from navigator.report.report import is_bad
from navigator.verify.sentences import where

_BAD, _GOOD, _WARNED, _HEADING, _QUIET = "bold red", "green", "yellow", "bold", "dim"

# As in the markdown summary: a model with hundreds of outputs is explained by its worst ones.
_OUTPUTS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line and how a terminal shows it."""

    text: str
    style: str = ""


def result_line(result: CellResult, *, widths: tuple[int, int] = (0, 0)) -> str:
    """Return one cell's outcome as one line.

    Args:
        result: the cell.
        widths: what the model's name and the cell's label are padded to.
    """
    spent = result.seconds.convert + result.seconds.verify
    worst = words.worst(result.comparisons)
    if worst is not None and (result.status.state is State.PASSED or worst.max_abs_error is not None):
        what = words.errors(worst)
    else:
        what = words.shorten(clean(result.status.message), 200)
    parts = [
        clean(result.model_name).ljust(widths[0]),
        clean(result.conversion).ljust(widths[1]),
        words.word(result.status.state).ljust(10),
        ("cached" if result.cached else words.seconds(spent)).rjust(8),
        clean(what),
    ]
    return "  ".join(parts).rstrip()


def style_of(result: CellResult) -> str:
    """Return the terminal style of a cell's outcome."""
    if is_bad(result):
        return _BAD
    return _GOOD if result.status.state is State.PASSED else _WARNED


def report_lines(report: Report) -> Iterator[Line]:
    """Yield the report line by line, failing cells first, the verdict last."""
    failures, followers = words.failures(report), words.followers(report)
    yield Line("")
    for result in failures:
        yield from _failure(result)
        yield Line("")
    for group in followers:
        yield from _follower(group)
        yield Line("")
    found = words.warnings(report.results)
    if found:
        yield Line("Warnings:", _WARNED)
        for (model, warning), cells in found.items():
            yield Line(f"  {clean(model)}  {', '.join(map(clean, cells))}: {clean(warning)}", _WARNED)
        yield Line("")
    yield from _table(report)
    for each in words.unverified(report.results):
        yield Line(f"{clean(each.model_name)}: not verified: {', '.join(map(clean, each.cells))}", _WARNED)
        yield Line(f"  {clean(each.reason)}", _WARNED)
    for each in words.absent(report.results):
        labels = words.shorten(", ".join(map(clean, each.cells)), 100)
        yield Line(f"{clean(each.model_name)}: {words.word(each.state)}: {labels}", _QUIET)
        yield Line(f"  {clean(each.reason)}{f'; {clean(each.remedy)}' if each.remedy else ''}", _QUIET)
    for name, results in words.models(report.results).items():
        for sentence in words.reductions(results):
            yield Line(f"{clean(name)}: {clean(sentence)}", _WARNED)
    for note in (*report.notes, *report.environment.notes):
        yield Line(clean(note))
    shard = f"; shard {clean(report.shard)}" if report.shard else ""
    yield Line(f"{words.verdict(report)}: {words.tally(report)}{shard}", _BAD if failures or followers else _HEADING)


def _failure(result: CellResult) -> Iterator[Line]:
    state = words.word(result.status.state).upper()
    yield Line(f"{clean(result.model_name)}  {clean(result.conversion)}  {state}", _BAD)
    if result.status.message:
        yield Line(f"  {clean(result.status.message)}")
    failing = sorted((each for each in result.comparisons if not each.passed), key=words.share, reverse=True)
    for comparison in failing[:_OUTPUTS]:
        yield from (Line(f"  {line}") for line in _comparison(comparison))
    if len(failing) > _OUTPUTS:
        yield Line(f"  and {words.count(len(failing) - _OUTPUTS, 'more output')}")
    if result.remedy:
        yield Line(f"  what to do: {clean(result.remedy)}")
    if suggested := words.suggestion_yaml(result):
        yield Line("  the tightest tolerances that would pass here, if such errors are acceptable:")
        yield from (Line(f"    {line}") for line in words.lines(suggested))
    if result.reproduce:
        yield Line(f"  reproduce: {clean(result.reproduce)}")
    if result.status.log_path is not None:
        yield Line(f"  log: {clean(str(result.status.log_path))}")


def _follower(group: words.Absent) -> Iterator[Line]:
    cells = ", ".join(map(clean, group.cells))
    yield Line(f"{clean(group.model_name)}  {cells}  {words.word(group.state).upper()}", _BAD)
    yield Line(f"  {clean(group.reason)}")
    if group.remedy:
        yield Line(f"  what to do: {clean(group.remedy)}")
    if group.log_path is not None:
        yield Line(f"  log: {clean(str(group.log_path))}")


def _comparison(comparison: Comparison) -> Iterator[str]:
    name = f"{clean(comparison.output)}{where(comparison)}"
    if comparison.problem:
        yield f"{name}: {clean(comparison.problem)}"
    if comparison.max_abs_error is not None:
        relative = f"max rel {words.number(comparison.max_rel_error)} (rtol {words.number(comparison.rtol)})"
        absolute = f"max abs {words.number(comparison.max_abs_error)} (atol {words.number(comparison.atol)})"
        yield f"{name}: {absolute}, {relative}, {words.portion(comparison)} out of tolerance"
    if comparison.worst is not None:
        worst = comparison.worst
        source, converted = clean(words.value(worst.reference)), clean(words.value(worst.value))
        yield f"  worst at {clean(words.place(worst))}: {source} in the source, {converted} converted"


def _worst(comparison: Comparison) -> str:
    name = f"{words.shorten(clean(comparison.output), 24)}{where(comparison)}"
    return f"{name}: {words.shorten(clean(words.errors(comparison)), 48)}"


def _table(report: Report) -> Iterator[Line]:
    rows: list[tuple[Sequence[str], str]] = []
    timed = any(result.latencies for result in report.results)
    for name, results in words.models(report.results).items():
        for result in results:
            worst = words.worst(result.comparisons)
            made = result.output_model
            status = words.word(result.status.state)
            cells = (
                clean(name),
                clean(result.conversion),
                f"{status} (cached)" if result.cached else status,
                _worst(worst) if worst is not None else "",
                words.size(made.size_bytes) if made is not None else "",
                words.seconds(result.seconds.convert) if result.seconds.convert else "",
                words.seconds(result.seconds.verify) if result.seconds.verify else "",
                *((words.latency(result),) if timed else ()),
            )
            rows.append((cells, style_of(result)))
    if not rows:
        return
    head = ("model", "cell", "status", "worst output", "size", "convert", "verify", *(("latency",) if timed else ()))
    widths = [max(len(cells[column]) for cells in (head, *(row for row, _ in rows))) for column in range(len(head))]
    for texts, style in ((head, _HEADING), *rows):
        left = [cell.ljust(width) for cell, width in zip(texts[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(texts[4:], widths[4:], strict=True)]
        yield Line("  ".join([*left, *right]).rstrip(), style)
    yield Line("")
