"""What a reviewer reads first: one row for each model and reason, as markdown. Pure.

Without a baseline these are the conversions that fail the run. With one they're what changed, then what still fails.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from navigator.records import CellResult, Change, Changes, ConversionChange, KeyChange, KeyKind, State
from navigator.render.changes import what
from navigator.render.escape import code, text
from navigator.render.markdown_failures import MARKS
from navigator.render.reasons import accepted, also, differences, failing, option, reason, recovery
from navigator.render.values import count, word
from navigator.report.summary import DOWNSTREAM, Summary, fails_run

MANY = 20
"""How many rows are shown before the others are opened by a click."""

# With more rows, those with the same reason are one for all models.
_FEW = 8
# How many models are named with their conversions, how many without, and how many conversions of one.
_IN_FULL, _MODELS, _LABELS = 3, 6, 6
_NAME_CHARS = 60


class Kind(StrEnum):
    """What a row is about, the most important first; the value is its title."""

    BROKEN = "Broken"
    NEW_FAILING = "New"
    UNDECIDED = "Undecided"
    WORSE = "Worse"
    REMOVED = "Removed"
    LOOSENED = "Loosened"
    FAILING = "Failing"
    STILL_FAILING = "Still failing"
    FIXED = "Fixed"
    BETTER = "Better"
    NEW = "Added"
    ALSO = "Also changed"


@dataclass(frozen=True, slots=True)
class Who:
    """A model, and its conversions if it's about some; the model is "" for the whole run."""

    model: str
    conversions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What happened to whom: a mark, a title, and the reason as markdown. `amount` is what a reader counts.

    `accepted` tells whether the configuration accepts it.
    """

    kind: Kind
    mark: str
    who: tuple[Who, ...] = ()
    why: str
    amount: int = 1
    title: str = ""
    accepted: bool = False

    @property
    def markdown(self) -> str:
        """Return the row as an item of a list."""
        parts = [f"{self.mark} **{self.title or self.kind}**", named(self.who)]
        if len(self.who) > _IN_FULL:
            parts.append(f"({count(self.amount, 'conversion')})")
        return f"- {' '.join(filter(None, parts))}: {self.why}"


def named(who: Sequence[Who]) -> str:
    """Return models and their conversions as markdown: few in full, the first ones of many by their names."""
    if len(who) <= _IN_FULL:
        return "; ".join(map(_named, who))
    models = [code(each.model, _NAME_CHARS) for each in who[:_MODELS]]
    more = f" and {count(len(who) - _MODELS, 'more model')}" if len(who) > _MODELS else ""
    return f"{', '.join(models)}{more}"


def rows(summary: Summary) -> tuple[Row, ...]:
    """Return the rows of a run, the most important first."""
    changes = summary.changes
    if changes is None or not changes.baseline.found:
        found = [*_failing(Kind.FAILING, [(each, None, "") for each in summary.failed])]
    else:
        found = [*_changed(changes)]
    return tuple(found if len(found) <= _FEW else _across_models(found))


def _named(who: Who) -> str:
    labels = [text(each, _NAME_CHARS) for each in who.conversions[:_LABELS]]
    more = [f"and {len(who.conversions) - _LABELS} more"] if len(who.conversions) > _LABELS else []
    name = [code(who.model, _NAME_CHARS)] if who.model else []
    return " ".join([*name, *([", ".join([*labels, *more])] if labels else [])])


def _across_models(found: Iterable[Row]) -> list[Row]:
    """Let rows of several models with the same reason be one."""
    merged: dict[tuple[str, ...], Row] = {}
    for row in found:
        key = row.kind, row.mark, row.title, row.why
        before = merged.get(key)
        both = replace(row, who=(*before.who, *row.who), amount=before.amount + row.amount) if before else row
        merged[key] = both
    return [*merged.values()]


def _changed(changes: Changes) -> Iterator[Row]:
    """Yield what changed, and what fails without a change."""
    failed = [each for each in changes.conversions if each.after is not None and fails_run(each.after)]
    yield from _failing(Kind.BROKEN, _results(changes.of(Change.BROKEN)))
    yield from _failing(Kind.NEW_FAILING, _results(each for each in failed if each.change is Change.NEW))
    yield from _failing(Kind.UNDECIDED, _results(each for each in failed if each.change is Change.NOT_COMPARED))
    yield from _measured(Kind.WORSE, "📈", changes.of(Change.WORSE))
    yield from _removed(changes.of(Change.REMOVED))
    yield from _loosened(changes.keys)
    yield from _failing(Kind.STILL_FAILING, _results(each for each in failed if each.change is Change.STILL_FAILING))
    yield from _fixed(changes.of(Change.FIXED))
    yield from _measured(Kind.BETTER, "📉", changes.of(Change.BETTER))
    yield from _added([each for each in changes.of(Change.NEW) if each not in failed])
    if others := also(changes):
        yield Row(kind=Kind.ALSO, mark="📝", why=others)


_Failed = tuple[CellResult, CellResult | None, str]


def _results(changes: Iterable[ConversionChange]) -> list[_Failed]:
    """Return the results of failed conversions, those of the base, and why somebody accepts them."""
    return [(each.after, each.before, each.accepted) for each in changes if each.after is not None]


def _failing(kind: Kind, failed: Iterable[_Failed]) -> Iterator[Row]:
    """Yield failures by model and reason, causes before what has none of its own."""
    groups: dict[object, list[_Failed]] = {}
    for each in sorted(failed, key=lambda each: each[0].status.state in DOWNSTREAM):
        after, _, why = each
        groups.setdefault((after.model_name, after.status.state, why, failing(after)), []).append(each)
    for group in groups.values():
        first, _, why = group[0]
        state = word(first.status.state)
        alone = kind in (Kind.FAILING, Kind.UNDECIDED)
        said = reason([(after, before) for after, before, _ in group])
        yield Row(
            kind=kind,
            mark=MARKS[first.status.state],
            title=state.capitalize() if alone else "",
            who=(Who(first.model_name, tuple(after.conversion for after, _, _ in group)),),
            why=f"{said if alone else f'{state}, {said}'}{accepted(why)}",
            amount=len(group),
            accepted=bool(why),
        )


def _measured(kind: Kind, mark: str, changes: Iterable[ConversionChange]) -> Iterator[Row]:
    """Yield the conversions that pass as before, of which a measure has changed."""
    groups: dict[object, list[ConversionChange]] = {}
    for each in changes:
        what = tuple((found.measure, found.of, found.device) for found in each.differences)
        groups.setdefault((each.model_name, each.accepted, what), []).append(each)
    for group in groups.values():
        why = differences([each.differences for each in group], worse=kind is Kind.WORSE)
        yield _row(kind, mark, group, f"{why}{accepted(group[0].accepted)}")


def _removed(changes: Iterable[ConversionChange]) -> Iterator[Row]:
    for group in _alike(changes, what):
        yield _row(Kind.REMOVED, "🗑️", group, f"{text(what(group[0]))}{accepted(group[0].accepted)}")


def _fixed(changes: Iterable[ConversionChange]) -> Iterator[Row]:
    for group in _alike(changes, lambda each: (what(each), failing(each.before) if each.before else ())):
        why = recovery([(each.before, each.after) for each in group if each.before and each.after])
        yield _row(Kind.FIXED, "✅", group, f"{text(what(group[0]))}{f': {why}' if why else ''}")


def _added(changes: Iterable[ConversionChange]) -> Iterator[Row]:
    there = (each for each in changes if each.after and each.after.status.state is not State.NOT_APPLICABLE)
    for group in _alike(there, what):
        yield _row(Kind.NEW, "🆕", group, text(what(group[0])))


def _loosened(keys: Iterable[tuple[str, KeyChange]]) -> Iterator[Row]:
    """Yield the options that let more pass, those of a model together."""
    groups: dict[tuple[str, str, KeyKind], list[KeyChange]] = {}
    for model, key in keys:
        if key.kind.loosens:
            groups.setdefault((model, key.accepted, key.kind), []).append(key)
    for (model, why, kind), group in groups.items():
        said = "; ".join(map(option, group))
        yield Row(
            kind=Kind.LOOSENED,
            mark="⚠️",
            title="Fewer samples" if kind is KeyKind.FEWER_SAMPLES else "",
            who=(Who(model),) if model else (),
            why=f"{said}{accepted(why)}",
            amount=len(group),
            accepted=bool(why),
        )


def _alike(
    changes: Iterable[ConversionChange], key: Callable[[ConversionChange], object]
) -> Iterator[list[ConversionChange]]:
    groups: dict[object, list[ConversionChange]] = {}
    for each in changes:
        groups.setdefault((each.model_name, each.accepted, key(each)), []).append(each)
    yield from groups.values()


def _row(kind: Kind, mark: str, group: Sequence[ConversionChange], why: str) -> Row:
    who = Who(group[0].model_name, tuple(each.conversion for each in group))
    return Row(kind=kind, mark=mark, who=(who,), why=why, amount=len(group), accepted=bool(group[0].accepted))
