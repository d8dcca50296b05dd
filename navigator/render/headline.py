"""The first line of a report: verdict, commit and base, and which conversions it's about. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import Baseline, State
from navigator.render.escape import text
from navigator.render.rows import Kind, Row, Who, named, rows
from navigator.render.sentences import result_of, tally
from navigator.render.text import clean, shorten
from navigator.render.values import count
from navigator.report.summary import Summary

_COMMIT = 7

_NEWS = (Kind.BROKEN, Kind.NEW_FAILING, Kind.UNDECIDED, Kind.WORSE, Kind.REMOVED, Kind.LOOSENED, Kind.FIXED)
_ALARMING = (Kind.BROKEN, Kind.WORSE, Kind.REMOVED, Kind.LOOSENED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """The verdict in one sentence, the commits that it's about, and the conversions."""

    mark: str
    said: str
    about: str
    who: tuple[Who, ...]

    @property
    def plain(self) -> str:
        """Return it for a status."""
        about = f" ({self.about})" if self.about else ""
        names = "; ".join(f"{clean(each.model)} {', '.join(map(clean, each.conversions))}".strip() for each in self.who)
        return f"{self.said}{about}{f': {names}' if names else ''}"

    def markdown(self, title: str = "") -> str:
        """Return it as a heading; `title` tells this report from others."""
        about = f" ({text(self.about)})" if self.about else ""
        names = f": {named(self.who)}" if self.who else ""
        which = f"{text(title, 60)}: " if clean(title) else ""
        return f"### {self.mark} {which}{self.said}{about}{names}"


def headline(summary: Summary) -> Headline:
    """Return the first line of a report."""
    found = rows(summary)
    kinds = _shown(summary, found)
    return Headline(
        mark=_mark(summary, found),
        said=_said(summary, found),
        about=_about(summary),
        who=_merged([who for row in found if row.kind in kinds and not row.accepted for who in row.who if who.model]),
    )


def description(summary: Summary) -> str:
    """Return the result of a run in the 140 characters of a commit status."""
    first = headline(summary)
    return shorten(f"{first.plain}; {tally(summary, first.said)}", 140)


def _said(summary: Summary, found: Sequence[Row]) -> str:
    changes = summary.changes
    if changes is None or not changes.baseline.found or summary.exit_code is ExitCode.NOTHING_TO_DO:
        return result_of(summary)
    cancelled = summary.exit_code is ExitCode.CANCELLED
    news = [row for row in found if row.kind in _NEWS and not (cancelled and row.kind is Kind.UNDECIDED)]
    amounts = {kind: sum(row.amount for row in news if row.kind is kind and not row.accepted) for kind in _NEWS}
    counted = [(kind, amount) for kind, amount in amounts.items() if amount]
    told = [_news(kind, amount, first=not index) for index, (kind, amount) in enumerate(counted)]
    if agreed := sum(row.amount for row in news if row.accepted):
        told.append(f"{count(agreed, 'change')} accepted")
    if cancelled:
        return "; ".join([result_of(summary), *told])
    incomplete = "" if summary.report.complete else ", and the run is incomplete"
    if told:
        return f"{', '.join(told)}{incomplete}"
    nothing = "Nothing changed" if changes.is_nothing else "Nothing broke"
    if still := sum(row.amount for row in found if row.kind is Kind.STILL_FAILING):
        fail = "still fails" if still == 1 else "still fail"
        return f"{nothing}, {still:,} of {count(summary.tried, 'conversion')} {fail}{incomplete}"
    passed = summary.states.get(State.PASSED, 0)
    return f"{nothing}, {passed:,} of {count(summary.tried, 'conversion')} passed"


def _news(kind: Kind, amount: int, *, first: bool) -> str:
    """Return how many conversions something happened to; only the `first` of several names the noun."""
    conversions = count(amount, "conversion") if first else f"{amount:,}"
    match kind:
        case Kind.BROKEN:
            return f"{conversions} broke"
        case Kind.NEW_FAILING:
            return f"{amount:,} new {'conversion fails' if amount == 1 else 'conversions fail'}"
        case Kind.UNDECIDED:
            return f"{conversions} {'fails' if amount == 1 else 'fail'} without a result in the base"
        case Kind.WORSE:
            return f"{conversions} got worse"
        case Kind.LOOSENED:
            return f"{count(amount, 'option')} loosened"
        case _:
            return f"{conversions} {kind.lower()}"


def _shown(summary: Summary, found: Sequence[Row]) -> tuple[Kind, ...]:
    """Return the kinds of rows that are named: those of the most important kind, or all that fail."""
    first = next((row.kind for row in found if row.kind in _NEWS and not row.accepted), None)
    if first is not None:
        return (first,)
    return (Kind.FAILING, Kind.STILL_FAILING) if summary.failed else ()


def _about(summary: Summary) -> str:
    origin, changes = summary.report.origin, summary.changes
    commit = clean(origin.commit)[:_COMMIT] if origin is not None else ""
    base = _base(changes.baseline) if changes is not None and changes.baseline.found else ""
    commits = f"{base} → {commit or 'here'}" if base else commit
    covered = f"covers only {summary.coverage}" if str(summary.coverage) else ""
    return "; ".join(filter(None, (commits, covered)))


def _base(baseline: Baseline) -> str:
    named = " ".join(filter(None, (shorten(clean(baseline.label), 40), clean(baseline.commit)[:_COMMIT])))
    return named or shorten(clean(baseline.path), 60) or "base"


def _mark(summary: Summary, found: Sequence[Row]) -> str:
    if summary.exit_code is ExitCode.FAILURE:
        return "❌"
    fine = summary.exit_code is ExitCode.OK and not any(row.kind in _ALARMING and not row.accepted for row in found)
    return "✅" if fine else "⚠️"


def _merged(who: Sequence[Who]) -> tuple[Who, ...]:
    """Return every model once."""
    models: dict[str, tuple[str, ...]] = {}
    for each in who:
        models[each.model] = (*models.get(each.model, ()), *each.conversions)
    return tuple(Who(model, conversions) for model, conversions in models.items())
