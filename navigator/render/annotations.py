"""Annotations: sentences that a pull request shows beside a line of a file. Pure.

Owns what is worth an annotation and where it belongs. How it is told to GitHub is `navigator.github.commands`'s.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from navigator.config import Problem
from navigator.records import CellResult, Report
from navigator.render import text as words
from navigator.report.report import is_bad

# A message names so many cells; the report has all.
_CELLS = 10

# Model, state, message and remedy: what cells have in common that one sentence explains.
_Reason = tuple[str, str, str, str]


class Level(StrEnum):
    """How bad what an annotation says is, in the words of GitHub's workflow commands."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A sentence about a line of a file. `path` is relative to the workspace, "" where it is about none."""

    level: Level
    message: str
    title: str = ""
    path: str = ""
    line: int | None = None
    column: int | None = None


def of_report(report: Report, root: Path) -> tuple[Annotation, ...]:
    """Return an error for each reason that fails cells of a model, and a warning for each warning.

    GitHub shows ten errors of a step: causes come before what they block, and each model's first before any second.

    Args:
        report: finished or not.
        root: the directory that paths are shown from. A model whose file is elsewhere is told without a place.
    """
    bad = [result for result in report.results if is_bad(result)]
    causes = _by_reason([result for result in bad if result.status.state not in words.FOLLOWERS])
    blocked = _by_reason([result for result in bad if result.status.state in words.FOLLOWERS])
    annotations = [_error(group, root) for groups in (causes, blocked) for group in _each_model_first(groups)]
    if not report.complete and not bad:
        annotations.append(Annotation(level=Level.ERROR, message=words.verdict(report)))
    some = {result.model_name: result for result in report.results}
    for (model, warning), cells in words.warnings(report.results).items():
        title = f"{words.clean(model)}: the verification proves little"
        annotations.append(_at(some[model], Level.WARNING, title, f"{_named(cells)}: {words.clean(warning)}", root))
    return tuple(annotations)


def of_problems(problems: Sequence[Problem], root: Path) -> tuple[Annotation, ...]:
    """Return an error for each problem of a configuration, at its place; relative paths start at `root`."""
    return tuple(_problem(each, root) for each in problems)


def _problem(problem: Problem, root: Path) -> Annotation:
    path = _inside(str(problem.path), root) if problem.path is not None else ""
    # What has no place in the repository names it in the sentence.
    said = [problem.message, problem.hint] if path else [str(problem)]
    return Annotation(
        level=Level.ERROR,
        title="The configuration is wrong",
        message="\n".join(words.clean(each) for each in said if each),
        path=path,
        line=problem.line if path else None,
        column=problem.column if path else None,
    )


def _by_reason(results: Sequence[CellResult]) -> Collection[list[CellResult]]:
    groups: dict[_Reason, list[CellResult]] = {}
    for each in results:
        reason = (each.model_name, str(each.status.state), each.status.message, each.remedy)
        groups.setdefault(reason, []).append(each)
    return groups.values()


def _each_model_first(groups: Collection[list[CellResult]]) -> Iterator[list[CellResult]]:
    """Yield the first group of each model, then the second of each, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for group in groups:
        rank = seen.get(group[0].model_name, 0)
        seen[group[0].model_name] = rank + 1
        ranked.append((rank, group))
    yield from (group for _, group in sorted(ranked, key=lambda each: each[0]))


def _error(group: list[CellResult], root: Path) -> Annotation:
    first = group[0]
    cells = [each.conversion for each in group]
    what = words.clean(cells[0]) if len(cells) == 1 else words.count(len(cells), "cell")
    said = [f"{_named(cells)}: {words.clean(first.status.message)}"]
    if first.remedy:
        said.append(f"What to do: {words.clean(first.remedy)}")
    title = f"{words.clean(first.model_name)}: {what} {words.word(first.status.state)}"
    return _at(first, Level.ERROR, title, "\n".join(said), root)


def _at(result: CellResult, level: Level, title: str, message: str, root: Path) -> Annotation:
    """Return an annotation at the line where the result's model stands, where that is known and under `root`."""
    config_path, line = (result.source_model_config.get(key) for key in ("config_path", "line"))
    path = _inside(config_path, root) if isinstance(config_path, str) else ""
    known = path and type(line) is int and line > 0
    return Annotation(level=level, message=message, title=title, path=path, line=line if known else None)


def _named(cells: Sequence[str]) -> str:
    more = f" and {len(cells) - _CELLS} more" if len(cells) > _CELLS else ""
    return f"{', '.join(words.clean(each) for each in cells[:_CELLS])}{more}"


def _inside(path: str, root: Path) -> str:
    """Return `path` relative to `root`, or "" where it is not below it. Looks at no disk."""
    top, full = Path(os.path.normpath(root)), Path(os.path.normpath(root / path))
    return full.relative_to(top).as_posix() if full != top and full.is_relative_to(top) else ""
