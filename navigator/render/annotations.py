"""Annotations: messages that a pull request shows next to a line of a file. Pure.

Decides what gets an annotation, and where. `navigator.github.commands` sends them to GitHub.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from navigator.config import Problem
from navigator.records import CellResult, Change
from navigator.render.changes import option, rows
from navigator.render.sentences import verdict
from navigator.render.text import clean
from navigator.render.values import count, word
from navigator.report.summary import Group, Summary, fails_on_regression

# How many conversions a message names; the report has all.
_NAMED = 10


class Level(StrEnum):
    """The level of an annotation, in the terms of GitHub's workflow commands."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A message about a line of a file. `path` is relative to the workspace, "" if there is no file."""

    level: Level
    message: str
    title: str = ""
    path: str = ""
    line: int | None = None
    column: int | None = None


def of_report(summary: Summary, root: Path) -> tuple[Annotation, ...]:
    """Return an error for each reason that fails conversions of a model, and a warning for each weak check.

    Regressions are errors if they fail the run, else warnings, and so are failures that only regressions excuse.

    GitHub shows ten errors of a step, so causes come before the conversions that they block, and the first error of
    each model before any second one.

    Args:
        summary: of a report that is finished or not.
        root: the directory that paths are relative to. A model outside of it has no place.
    """
    annotations = [
        _failure(group, summary, root)
        for groups in (summary.failures, summary.downstream)
        for group in _each_model_first(groups)
    ]
    annotations += _regressions(summary, root)
    if not summary.report.complete and not summary.failed:
        annotations.append(Annotation(level=Level.ERROR, message=verdict(summary)))
    for each in summary.warnings:
        first = each.checked.first
        message = f"{_named(each.checked)}: {clean(each.warning)}"
        annotations.append(_at(first, Level.WARNING, f"{clean(first.model_name)}: weak check", message, root))
    return tuple(annotations)


def of_problems(problems: Sequence[Problem], root: Path) -> tuple[Annotation, ...]:
    """Return an error for each problem of a configuration, at its place; relative paths start at `root`."""
    return tuple(_problem(each, root) for each in problems)


def _problem(problem: Problem, root: Path) -> Annotation:
    path = _inside(str(problem.path), root) if problem.path is not None else ""
    # A file outside the repository is named in the message.
    said = [problem.message, problem.hint] if path else [str(problem)]
    return Annotation(
        level=Level.ERROR,
        title="Invalid configuration",
        message="\n".join(clean(each) for each in said if each),
        path=path,
        line=problem.line if path else None,
        column=problem.column if path else None,
    )


def _each_model_first(groups: Iterable[Group]) -> Iterator[Group]:
    """Yield the first group of each model, then the second of each, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for group in groups:
        rank = seen.get(group.first.model_name, 0)
        seen[group.first.model_name] = rank + 1
        ranked.append((rank, group))
    yield from (group for _, group in sorted(ranked, key=lambda each: each[0]))


def _failure(group: Group, summary: Summary, root: Path) -> Annotation:
    first = group.first
    names = group.conversions
    what = clean(names[0]) if len(names) == 1 else count(len(names), "conversion")
    said = [f"{_named(group)}: {clean(first.status.message)}"]
    if first.remedy:
        said.append(f"How to fix: {clean(first.remedy)}")
    title = f"{clean(first.model_name)}: {what} {word(first.status.state)}"
    return _at(first, _level(group, summary), title, "\n".join(said), root)


def _level(group: Group, summary: Summary) -> Level:
    """Return an error for what fails the run: not what the base has too, where only regressions count."""
    changes = summary.changes
    if changes is None or not fails_on_regression(summary.report, changes):
        return Level.ERROR
    names = {(each.model_name, each.conversion) for each in changes.conversions if each.is_regression}
    found = any((each.model_name, each.conversion) in names for each in group.results)
    return Level.ERROR if found else Level.WARNING


def _regressions(summary: Summary, root: Path) -> Iterator[Annotation]:
    """Yield what got worse, is gone or lets more pass, where nobody accepts it; what is broken has failed."""
    changes = summary.changes
    if changes is None or not changes.baseline.found:
        return
    level = Level.ERROR if fails_on_regression(summary.report, changes) else Level.WARNING
    models = {each.model_name: each for each in (*summary.failed, *summary.others)}
    for row in rows(changes, Change.WORSE, Change.REMOVED):
        if row.is_regression:
            title = f"{clean(row.model_name)}: {count(len(row.conversions), 'conversion')} {word(row.change)}"
            yield _at(models.get(row.model_name), level, title, f"{row.title}: {row.what}", root)
    for model, key in changes.keys:
        if key.is_regression:
            title = f"{clean(model)}: {clean(key.key)}" if model else clean(key.key)
            yield _at(models.get(model), level, f"{title} lets more pass", option(model, key), root)


def _at(result: CellResult | None, level: Level, title: str, message: str, root: Path) -> Annotation:
    """Return an annotation at the line of the result's model, if that is known and under `root`."""
    source = result.source_model_config if result is not None else None
    path = _inside(str(source.config_path), root) if source is not None and source.config_path is not None else ""
    line = source.line if source is not None and path and source.line is not None and source.line > 0 else None
    return Annotation(level=level, message=message, title=title, path=path, line=line)


def _named(group: Group) -> str:
    names = group.conversions
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(map(clean, names[:_NAMED]))}{more}"


def _inside(path: str, root: Path) -> str:
    """Return `path` relative to `root`, or "" if it is not below it. Doesn't access the disk."""
    top, full = Path(os.path.normpath(root)), Path(os.path.normpath(root / path))
    return full.relative_to(top).as_posix() if full != top and full.is_relative_to(top) else ""
