"""The report as GitHub markdown: the summary file, and what a pull request shows.

Pure. Everything that comes from a repository or a framework goes through `navigator.render.escape`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import CellResult, Comparison, Report, State
from navigator.render import text as words
from navigator.render.escape import code, fence, row, text
from navigator.report.report import exit_code, is_bad
from navigator.verify.sentences import where

MARKS: Mapping[State, str] = {
    State.PASSED: "✅",
    State.MISMATCHED: "❌",
    State.FAILED: "❌",
    State.CRASHED: "💥",
    State.TIMED_OUT: "⏰",
    State.BLOCKED: "⛔",
    State.CANCELLED: "⏹️",
    State.UNAVAILABLE: "🔌",
    State.UNVERIFIED: "❔",
    State.NOT_APPLICABLE: "⚪",
}

_VERDICT_MARKS: Mapping[ExitCode, str] = {ExitCode.OK: "✅", ExitCode.FAILURE: "❌"}

# A model with hundreds of outputs is explained by its worst ones.
_OUTPUTS = 5

# Of cells that share a reason, so many are named where there is no room for all.
_BRIEFLY = 5

# Room for the sentence that says what was left out.
_RESERVE_CHARS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """A part that stands or falls as a whole; `brief` is what may stand in its place."""

    kind: str
    text: str
    brief: str = ""


def summary(report: Report, *, limit_chars: int | None = None) -> str:
    """Return the report as markdown.

    Args:
        report: finished or not.
        limit_chars: cut whole sections, the least important first, until the text is no longer than this, and say
            what was left out. A failing cell is cut only after every other section.
    """
    header = _header(report)
    # From here to there is also the order of importance.
    sections = [
        *_failures(report),
        *_warnings(report),
        *_unverified(report),
        *_notes(report),
        *_models(report),
        *_absent(report),
    ]
    sections.append(_Section(kind="the environment", text=f"<sub>{text(words.environment(report.environment))}</sub>"))
    whole = _join([header, *(section.text for section in sections)])
    if limit_chars is None or len(whole) <= limit_chars:
        return whole
    return _cut(header, sections, limit_chars)


def _join(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _cut(header: str, sections: list[_Section], limit: int) -> str:
    """Replace sections by their brief form, then drop these, from the least important end until the rest fits."""
    texts = [section.text for section in sections]
    used = len(_join([header, *texts])) + _RESERVE_CHARS
    for shorter in ([section.brief for section in sections], ["" for _ in sections]):
        for index in reversed(range(len(sections))):
            if used <= limit:
                break
            if len(texts[index]) > len(shorter[index]):
                used -= len(texts[index]) - len(shorter[index])
                texts[index] = shorter[index]
    left_out: dict[str, int] = {}
    for section, shown in zip(sections, texts, strict=True):
        if shown != section.text:
            left_out[section.kind] = left_out.get(section.kind, 0) + 1
    what = ", ".join(f"{kind} ({number})" if number > 1 else kind for kind, number in left_out.items())
    remark = f"**Left out**, since the whole report is too long for this place: {what}."
    cut = _join([header, *texts, remark])
    # Only a limit that not even the header fits in gets here; the header holds nothing that could be left open.
    return cut if len(cut) <= limit else header[:limit]


def _header(report: Report) -> str:
    mark = _VERDICT_MARKS.get(exit_code(report), "⚠️")
    warned = sum(bool(result.warnings) for result in report.results)
    warning = f" — ⚠️ the verification of {words.count(warned, 'cell')} proves little, see below" if warned else ""
    shard = f"; shard {text(report.shard)}" if report.shard else ""
    return f"## {mark} {words.verdict(report)}\n\n{words.tally(report)}{shard}{warning}"


def _failures(report: Report) -> list[_Section]:
    sections = []
    for result in words.failures(report):
        title = f"{MARKS[result.status.state]} {_name(result)}: {words.word(result.status.state)}"
        message = text(result.status.message, 300)
        brief = f"- {title}: {message}" if message else f"- {title}"
        sections.append(_Section(kind="details of failing cells", text=_failure(result, title), brief=brief))
    lines, titles = [], []
    for group in words.followers(report):
        who = f"- {MARKS[group.state]} {code(group.model_name)} / "
        more = f" and {len(group.cells) - _BRIEFLY} more" if len(group.cells) > _BRIEFLY else ""
        titles.append(f"{who}{', '.join(map(code, group.cells[:_BRIEFLY]))}{more}: {words.word(group.state)}")
        # The message of the others says the state.
        state = "unavailable: " if group.state is State.UNAVAILABLE else ""
        told = [f"{who}{', '.join(map(code, group.cells))}: {state}{text(group.reason, 300)}"]
        if group.remedy:
            told.append(f"**What to do:** {text(group.remedy)}")
        if group.log_path is not None:
            told.append(f"Log: {code(str(group.log_path), 1000)}")
        lines.append("\\\n  ".join(told))
    if lines:
        whole = "\n".join(["### Blocked, unavailable or undecided", "", *lines])
        sections.append(_Section(kind="reasons of blocked cells", text=whole, brief="\n".join(titles)))
    return sections


def _name(result: CellResult) -> str:
    return f"{code(result.model_name)} / {code(result.conversion)}"


def _failure(result: CellResult, title: str) -> str:
    parts = [f"### {title}"]
    if result.status.message:
        parts.append(text(result.status.message, 2000))
    parts.extend(_comparisons([each for each in result.comparisons if not each.passed], result))
    if result.remedy:
        parts.append(f"**What to do:** {text(result.remedy)}")
    if suggested := words.suggestion_yaml(result):
        parts.append("The tightest tolerances that would pass here. Paste them only if such errors are acceptable:")
        parts.append(fence(suggested, "yaml"))
    if result.reproduce:
        parts.append("To reproduce:")
        parts.append(fence(result.reproduce, "shell"))
    if result.status.log_path is not None:
        parts.append(f"Log: {code(str(result.status.log_path), 1000)}")
    return "\n\n".join(parts)


def _comparisons(failing: list[Comparison], result: CellResult) -> list[str]:
    """Return the failing outputs, the worst first: measured ones as a table, the others as a list."""
    ordered = sorted(failing, key=words.share, reverse=True)
    shown = ordered[:_OUTPUTS]
    measured = [each for each in shown if each.max_abs_error is not None or each.worst is not None]
    parts = []
    if measured:
        head = ["Output", "Max abs error", "Max rel error", "Out of tolerance", "Worst element", "Source", "Converted"]
        parts.append("\n".join([row(head), "|---|---|---|---|---|---|---|", *(_measured(each) for each in measured)]))
    problems = [f"- {code(each.output)}{where(each)}: {text(each.problem)}" for each in shown if each.problem]
    if problems:
        parts.append("\n".join(problems))
    rest = []
    if len(ordered) > len(shown):
        rest.append(f"{words.count(len(ordered) - len(shown), 'more output')} out of tolerance")
    within = len(result.comparisons) - len(failing)
    if within:
        rest.append(f"{words.count(within, 'other output')} within tolerance")
    if rest and shown:
        parts.append(f"And {', '.join(rest)}.")
    return parts


def _measured(comparison: Comparison) -> str:
    cells = [
        f"{code(comparison.output)}{where(comparison)}",
        _against(comparison.max_abs_error, f"atol {words.number(comparison.atol)}"),
        _against(comparison.max_rel_error, f"rtol {words.number(comparison.rtol)}"),
        _whole(words.portion(comparison)).replace("\u00a0(", " ("),
    ]
    if comparison.worst is None:
        return row([*cells, "", "", ""])
    worst = comparison.worst
    values = [code(words.value(worst.reference)), code(words.value(worst.value))]
    return row([*cells, text(words.place(worst)), *values])


def _against(error: float | None, tolerance: str) -> str:
    # Browsers break lines at a hyphen too, and nobody copies a tolerance from here.
    allowed = f"({_whole(tolerance)})".replace("-", "\u2011")
    return allowed if error is None else f"**{words.number(error)}** {allowed}"


def _warnings(report: Report) -> list[_Section]:
    found = words.warnings(report.results)
    if not found:
        return []
    quoted = ["> [!WARNING]", "> **Warnings**", ">"]
    for (model, warning), cells in found.items():
        quoted.append(f"> - {code(model)} / {', '.join(code(cell) for cell in cells)}: {text(warning)}")
    return [_Section(kind="warnings", text="\n".join(quoted))]


def _unverified(report: Report) -> list[_Section]:
    found = words.unverified(report.results)
    lines = [
        f"- {MARKS[each.state]} {code(each.model_name)} / {', '.join(map(code, each.cells))}: {text(each.reason)}"
        for each in found
    ]
    if not lines:
        return []
    return [_Section(kind="what was not verified", text="\n".join(["### Built, not verified", "", *lines]))]


def _notes(report: Report) -> list[_Section]:
    notes = [f"- {text(note)}" for note in (*report.notes, *report.environment.notes)]
    return [_Section(kind="notes", text="\n".join(["### Notes", "", *notes]))] if notes else []


def _models(report: Report) -> list[_Section]:
    sections = []
    for name, results in words.models(report.results).items():
        source = text(str(results[0].source_model_config.get("model_format", "")))
        passed = sum(result.status.state is State.PASSED for result in results)
        title = " · ".join(part for part in (code(name), source, f"{passed} of {len(results)} passed") if part)
        reduced = [f"- {text(sentence)}" for sentence in words.reductions(results)]
        parts = [f"### {title}", "", *_table(results), *([""] if reduced else []), *reduced]
        sections.append(_Section(kind="tables of models", text="\n".join(parts)))
    return sections


def _table(results: Sequence[CellResult]) -> list[str]:
    more = {"Opset": words.opset, "Latency on the GPU": words.latency}
    more = {title: column for title, column in more.items() if any(column(result) for result in results)}
    head = ["Cell", "Status", "Worst output", "Max abs error (of tolerance)", "Size", "Convert", "Verify"]
    rule = "|---|---|---|---|--:|--:|--:|"
    head, rule = [*head, *more], f"{rule}{'--:|' * len(more)}"
    rows = [row([*_cells(result), *(_whole(column(result)) for column in more.values())]) for result in results]
    return [row(head), rule, *rows]


def _cells(result: CellResult) -> list[str]:
    state = result.status.state
    status = f"**{words.word(state)}**" if is_bad(result) else words.word(state)
    worst = words.worst(result.comparisons)
    return [
        code(result.conversion),
        f"{_whole(f'{MARKS[state]} {status}')}{' (cached)' if result.cached else ''}{' ⚠️' if result.warnings else ''}",
        f"{code(worst.output, 60)}{where(worst)}" if worst is not None else "",
        _error(worst) if worst is not None else "",
        _size(result),
        _whole(words.seconds(result.seconds.convert)) if result.seconds.convert else "",
        _whole(words.seconds(result.seconds.verify)) if result.seconds.verify else "",
    ]


def _error(comparison: Comparison) -> str:
    if comparison.problem:
        return text(comparison.problem, 80)
    return f"{words.number(comparison.max_abs_error)} ({_whole(words.percent(words.share(comparison)))})"


def _whole(amount: str) -> str:
    """Keep an amount and its unit on one line."""
    return amount.replace(" ", "\u00a0")


def _size(result: CellResult) -> str:
    if result.output_model is None:
        return ""
    size = result.output_model.size_bytes
    source = words.source_bytes(result)
    return f"{_whole(words.size(size))} ({size / source:.2f}x)" if source else _whole(words.size(size))


def _absent(report: Report) -> list[_Section]:
    found = words.absent(report.results)
    if not found:
        return []
    total = sum(len(each.cells) for each in found)
    rows = [
        row(
            [
                code(each.model_name),
                ", ".join(code(cell) for cell in each.cells),
                _whole(f"{MARKS[each.state]} {words.word(each.state)}"),
                text(each.reason),
                text(each.remedy),
            ]
        )
        for each in found
    ]
    head = [row(["Model", "Cells", "Status", "Why", "What to do"]), "|---|---|---|---|---|"]
    title = f"{words.count(total, 'cell')} not applicable or unavailable on this machine"
    table = "\n".join([*head, *rows])
    folded = f"<details>\n<summary>{title}</summary>\n\n{table}\n\n</details>"
    return [_Section(kind="cells that were not tried", text=folded)]
