"""Renders a report as GitHub markdown, for the summary file and pull requests.

Pure. Escapes all text from repositories and frameworks with `navigator.render.escape`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import State
from navigator.render.escape import code, fence, text
from navigator.render.markdown_failures import MARKS, failure, log_line, names, title
from navigator.render.markdown_tables import model_table, skipped_table
from navigator.render.sentences import environment, tally, verdict
from navigator.render.values import count, word
from navigator.report.summary import Group, Summary
from navigator.samples.found import KEEP, block, finding

_VERDICT_MARKS: Mapping[ExitCode, str] = {ExitCode.OK: "✅", ExitCode.FAILURE: "❌"}

# How many conversions with the same reason are named if there is no room for all.
_BRIEFLY = 5

# Room for the message about what was left out.
_RESERVE_CHARS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """A section that is shown or left out completely; `brief` is a shorter version of it."""

    kind: str
    text: str
    brief: str = ""


def summary_markdown(summary: Summary, *, limit_chars: int | None = None, log_url: str = "") -> str:
    """Return the report as markdown.

    Args:
        summary: of a report that is finished or not.
        limit_chars: maximum length. Leaves out sections, the least important first, and says what was left out.
            Failed conversions are the last to be left out.
        log_url: the run whose log shows the ends of the workers' logs, or "".
    """
    header = _header(summary)
    # In order of importance.
    sections = [
        *_failures(summary, log_url),
        *_downstream(summary, log_url),
        *_warnings(summary),
        *_unverified(summary),
        *_notes(summary),
        *_found(summary),
        *(_Section(kind="model tables", text=model_table(each)) for each in summary.models),
        *_skipped(summary),
        _Section(kind="environment", text=f"<sub>{text(environment(summary.report.environment))}</sub>"),
    ]
    whole = _join([header, *(section.text for section in sections)])
    if limit_chars is None or len(whole) <= limit_chars:
        return whole
    return _cut(header, sections, limit_chars)


def _join(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _cut(header: str, sections: list[_Section], limit: int) -> str:
    """Shorten sections and then leave them out, starting with the least important, until the rest fits."""
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
    remark = f"**Truncated:** the full report doesn't fit here. Left out: {what}."
    cut = _join([header, *texts, remark])
    # Not even the header fits; it contains no markup that truncation could leave open.
    return cut if len(cut) <= limit else header[:limit]


def _header(summary: Summary) -> str:
    mark = _VERDICT_MARKS.get(summary.exit_code, "⚠️")
    weak = f"{count(summary.weak, 'check')} {'is' if summary.weak == 1 else 'are'} weak, see Warnings"
    shard = f"; shard {text(summary.report.shard)}" if summary.report.shard else ""
    return f"## {mark} {verdict(summary)}\n\n{tally(summary)}{shard}{f' — ⚠️ {weak}' if summary.weak else ''}"


def _failures(summary: Summary, log_url: str) -> list[_Section]:
    sections = []
    for result in (each for group in summary.failures for each in group.results):
        message = text(result.status.message, 300)
        brief = f"- {title(result)}: {message}" if message else f"- {title(result)}"
        sections.append(_Section(kind="details of failed conversions", text=failure(result, log_url), brief=brief))
    return sections


def _downstream(summary: Summary, log_url: str) -> list[_Section]:
    if not summary.downstream:
        return []
    whole = ["### Blocked, unavailable or cancelled", "", *(_reason(each, log_url) for each in summary.downstream)]
    brief = map(_without_reason, summary.downstream)
    return [_Section(kind="reasons for blocked conversions", text="\n".join(whole), brief="\n".join(brief))]


def _without_reason(group: Group) -> str:
    more = f" and {len(group.results) - _BRIEFLY} more" if len(group.results) > _BRIEFLY else ""
    return f"- {_marked(group, _BRIEFLY)}{more}: {word(group.first.status.state)}"


def _reason(group: Group, log_url: str) -> str:
    first = group.first
    # The messages of the others contain the state.
    state = "unavailable: " if first.status.state is State.UNAVAILABLE else ""
    parts = [f"- {_marked(group)}: {state}{text(first.status.message, 300)}"]
    if first.remedy:
        parts.append(f"**How to fix:** {text(first.remedy)}")
    if first.status.log_path is not None:
        parts.append(log_line(first.status.log_path, log_url))
    return "\\\n  ".join(parts)


def _marked(group: Group, limit: int | None = None) -> str:
    return f"{MARKS[group.first.status.state]} {code(group.first.model_name)} / {names(group, limit)}"


def _warnings(summary: Summary) -> list[_Section]:
    if not summary.warnings:
        return []
    quoted = [
        f"> - {code(each.checked.first.model_name)} / {names(each.checked)}: {text(each.warning)}"
        for each in summary.warnings
    ]
    return [_Section(kind="warnings", text="\n".join(["> [!WARNING]", "> **Warnings**", ">", *quoted]))]


def _unverified(summary: Summary) -> list[_Section]:
    if not summary.unverified:
        return []
    lines = [f"- {_marked(each)}: {text(each.first.status.message)}" for each in summary.unverified]
    return [_Section(kind="unverified conversions", text="\n".join(["### Built, not verified", "", *lines]))]


def _notes(summary: Summary) -> list[_Section]:
    notes = [f"- {text(note)}" for note in (*summary.report.notes, *summary.report.environment.notes)]
    return [_Section(kind="notes", text="\n".join(["### Notes", "", *notes]))] if notes else []


def _found(summary: Summary) -> list[_Section]:
    """Return what was found by running the models, each with the lines to paste."""
    return [
        _Section(
            kind="found shapes",
            text=f"{code(found.model_name)}: {text(finding(found), limit=2000)}; {KEEP}:\n\n"
            + fence("\n".join(block(found)), "yaml"),
        )
        for found in summary.report.found
    ]


def _skipped(summary: Summary) -> list[_Section]:
    return [_Section(kind="skipped conversions", text=skipped_table(summary.skipped))] if summary.skipped else []
