"""Renders a report as GitHub markdown, for the summary file, the run's page and pull requests.

First the verdict, then a row for each model and reason, then what is opened by a click. Pure. Escapes all text from
repositories and frameworks with `navigator.render.escape`.
"""

from collections.abc import Iterator

from navigator.errors import ExitCode
from navigator.records import CellResult, Change
from navigator.render import folds
from navigator.render.changes import rows as compared_rows
from navigator.render.changes import uncompared
from navigator.render.escape import code, fence, html_code, link, text
from navigator.render.folds import Fold, Part
from navigator.render.headline import headline
from navigator.render.markdown_failures import failure, names, tolerances
from navigator.render.markdown_tables import model_table, skipped_table
from navigator.render.reasons import failing
from navigator.render.rows import MANY, rows
from navigator.render.sentences import environment, tally
from navigator.render.values import count, word
from navigator.report.summary import ModelSummary, Summary
from navigator.samples.found import KEEP, block, finding

# With details of more models there's one fold around all of them.
_MODELS = 6


def summary_markdown(
    summary: Summary, *, limit_chars: int | None = None, log_url: str = "", title: str = "", links: str = ""
) -> str:
    """Return the report as markdown.

    Args:
        summary: of a report that is finished or not.
        limit_chars: maximum length. Leaves out the least important parts, and says which.
        log_url: the run whose log shows the ends of the workers' logs, or "".
        title: what tells this report from others beside it, such as the configuration.
        links: the last line. With it, two lines are enough where nothing changed and nothing is wrong.
    """
    header = f"{headline(summary).markdown(title)}\n\n{_second_line(summary)}"
    changes = summary.changes
    same = changes is not None and changes.baseline.found and changes.is_nothing
    if links and same and summary.exit_code is ExitCode.OK and not summary.failed:
        return f"{header} · {links}\n"
    parts = [Part(header), *_rows(summary), *_details(summary, log_url), *_warnings(summary), *_notes(summary)]
    last = f"\n{links}\n" if links else ""
    room = limit_chars - len(last) if limit_chars is not None else None
    return f"{folds.markdown([*parts, *_everything(summary)], room)}{last}"


def _second_line(summary: Summary) -> str:
    said = [tally(summary, headline(summary).said)]
    if summary.report.shard:
        said.append(f"shard {text(summary.report.shard)}")
    if summary.weak:
        said.append(f"⚠️ {count(summary.weak, 'weak check')}")
    baseline = summary.changes.baseline if summary.changes is not None else None
    if baseline is not None and baseline.found and baseline.relation:
        said.append(f"baseline: {link(text(baseline.relation), baseline.run_url) or text(baseline.relation)}")
    if told := uncompared(summary):
        said.append(text(told))
    return " · ".join(said)


def _rows(summary: Summary) -> Iterator[Part | Fold]:
    items = [Part(each.markdown, "row") for each in rows(summary)]
    yield from items[:MANY]
    if more := items[MANY:]:
        yield Fold(f"{len(more):,} more", tuple(more))


def _details(summary: Summary, log_url: str) -> Iterator[Fold]:
    """Yield for each model why conversions failed, and at the end what to paste."""
    found = [_model(each, log_url) for each in summary.models if each.failed]
    if len(found) > _MODELS:
        yield Fold(f"Details of {count(len(found), 'model')}", tuple(found))
    else:
        yield from found


def _model(model: ModelSummary, log_url: str) -> Fold:
    groups: dict[object, list[CellResult]] = {}
    for each in model.failed:
        groups.setdefault((each.status.state, failing(each)), []).append(each)
    parts = [Part(failure(group, log_url), "detail") for group in groups.values()]
    if suggested := tolerances(model.failed):
        parts.append(Part(suggested, "suggestion"))
    states = dict.fromkeys(word(each.status.state) for each in model.failed)
    what = " or ".join(states) if len(states) < 3 else "didn't pass"
    said = f"{len(model.failed)} of {len(model.results)} {what}"
    return Fold(f"Details: {html_code(model.name)}, {said}", tuple(parts))


def _warnings(summary: Summary) -> Iterator[Fold]:
    if summary.warnings:
        lines = [
            f"- {code(each.checked.first.model_name)} {names(each.checked.conversions)}: {text(each.warning)}"
            for each in summary.warnings
        ]
        yield Fold(f"⚠️ {count(summary.weak, 'weak check')}", tuple(Part(each, "warning") for each in lines))


def _notes(summary: Summary) -> Iterator[Fold]:
    """Yield messages about the run, what was built but not verified, and what was found, with lines to paste."""
    parts = [
        Part(f"- {code(each.first.model_name)} {names(each.conversions)}: {text(each.first.status.message)}", "note")
        for each in summary.unverified
    ]
    run = (*summary.report.notes, *summary.report.environment.notes)
    parts += [Part(f"- {text(note)}", "note") for note in (*_of_changes(summary), *run)]
    parts += [
        Part(
            f"{code(found.model_name)}: {text(finding(found), limit=2000)}; {KEEP}:\n\n"
            + fence("\n".join(block(found)), "yaml"),
            "found shape",
        )
        for found in summary.report.found
    ]
    if parts:
        yield Fold(count(len(parts), "note"), tuple(parts))


def _of_changes(summary: Summary) -> Iterator[str]:
    """Yield what isn't compared, and why, and what there is to know of the comparison."""
    changes = summary.changes
    if changes is None:
        return
    if changes.baseline.found:
        yield from (f"{row.title} not compared: {row.what}" for row in compared_rows(changes, Change.NOT_COMPARED))
    if changes.baseline.found and changes.baseline.note:
        yield f"the base: {changes.baseline.note}"
    yield from changes.notes


def _everything(summary: Summary) -> Iterator[Fold]:
    parts = [Part(model_table(each), "model table") for each in summary.models]
    if summary.skipped:
        parts.append(Part(skipped_table(summary.skipped), "table of skipped conversions"))
    parts.append(Part(f"<sub>{text(environment(summary.report.environment))}</sub>", "line about the machine"))
    tried = f"{count(summary.tried, 'conversion')} of {count(len(summary.models), 'model')}"
    yield Fold(f"All results: {tried}", tuple(parts))
