"""Compares a run with the results of its base. Pure.

Decides what happened to each conversion and each model, and which of it is a regression.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from navigator.changes import machines
from navigator.changes.accepted import Accepted
from navigator.changes.base import Base
from navigator.changes.matching import Side, previous_names, side
from navigator.changes.measures import Comparability, differences, same_inputs
from navigator.changes.options import option_changes, rule_changes
from navigator.changes.outcomes import exists, judged
from navigator.changes.tolerances import applied
from navigator.errors import quote
from navigator.records import (
    CellResult,
    Change,
    Changes,
    ConversionChange,
    Difference,
    KeyChange,
    ModelChange,
    Regression,
    Report,
    Source,
    State,
)
from navigator.report.summary import coverage, fails_run


def compare(report: Report, base: Base) -> Changes:
    """Return what changed from `base` to `report`."""
    return _Comparison(side(base.report), side(report)).changes(base)


class _Comparison:
    """The comparison of one run with its base."""

    def __init__(self, base: Side, run: Side) -> None:
        self._base, self._run = base, run
        self._previous = previous_names(base, run)
        renamed = set(self._previous.values())
        # A model that the run's filters leave out isn't gone.
        self._gone = [name for name in base.results if name not in renamed and not run.has(name)]
        before, after = base.report.environment, run.report.environment
        self._same_gpus, self._alike = machines.same_gpus(before, after), machines.alike(before, after)
        # At one commit both have the same entries, and they may be for what packages change.
        earlier = None if _same_commit(base.report, run.report) else base.report.rules
        self._accepted = Accepted(earlier, run.report.rules)

    def changes(self, base: Base) -> Changes:
        before, after = base.report.environment, self._run.report.environment
        names = [(name, self._previous.get(name, "")) for name in self._run.results]
        gone = [("", name) for name in self._gone]
        rules = rule_changes(base.report.rules, self._run.report.rules)
        return Changes(
            baseline=base.told,
            conversions=(
                *(change for name, previous in names for change in self._conversions(name, previous)),
                *(change for name, previous in (*names, *gone) for change in self._removed(name, previous)),
            ),
            models=tuple(self._model(name, previous) for name, previous in (*names, *gone)),
            options=tuple(self._judged_key("", "", each) for each in rules),
            tools=machines.tools(before, after),
            machine=machines.machine(before, after),
            notes=tuple(self._notes()),
        )

    def _conversions(self, name: str, previous: str) -> Iterator[ConversionChange]:
        known = self._base.results.get(previous, {})
        for label, after in self._run.results[name].items():
            yield self._conversion(name, previous, label, known.get(label), after)

    def _removed(self, name: str, previous: str) -> Iterator[ConversionChange]:
        present = self._run.results.get(name, {})
        for label, before in self._base.results.get(previous, {}).items():
            if label not in present and exists(before) and not before.intermediate and self._run.covers(name, label):
                yield self._conversion(name, previous, label, before, None)

    def _conversion(
        self, name: str, previous: str, label: str, before: CellResult | None, after: CellResult | None
    ) -> ConversionChange:
        """Return what happened to a conversion; of a model that is gone, `name` is ""."""
        change, reason = self._outcome(previous or name, label, before, after)
        found: tuple[Difference, ...] = ()
        if change is Change.UNCHANGED and before is not None and after is not None:
            found = differences(before, after, self._comparability(before, after))
            if found:
                change = Change.WORSE if any(each.is_worse for each in found) else Change.BETTER
        what = _regression(change, after)
        accepted = self._accepted.reason(what, _names(name, previous), label) if what is not None else ""
        return ConversionChange(
            model_name=name or previous,
            conversion=label,
            change=change,
            previous_name=previous if name and previous not in ("", name) else "",
            before=before,
            after=after,
            differences=found,
            reason=reason,
            accepted=accepted,
            is_regression=what is not None and not accepted,
        )

    def _outcome(
        self, previous: str, label: str, before: CellResult | None, after: CellResult | None
    ) -> tuple[Change, str]:
        if not exists(after):
            return (Change.REMOVED if exists(before) else Change.UNCHANGED), ""
        if not exists(before):
            if before is None and not self._base.covers(previous, label):
                return Change.NOT_COMPARED, "the base's results don't cover it"
            if before is None and after is not None and after.intermediate:
                # It's only shown on machines that can make those that need it.
                return Change.NOT_COMPARED, "the base doesn't show this intermediate conversion"
            return Change.NEW, ""
        assert before is not None
        assert after is not None
        return judged(before.status, after.status, same_gpus=self._same_gpus)

    def _comparability(self, before: CellResult, after: CellResult) -> Comparability:
        one, other = before.source_model_config, after.source_model_config
        growth = other.size_bytes / one.size_bytes if one is not None and other is not None and one.size_bytes else 1.0
        return Comparability(
            memory=self._alike, latency=self._same_gpus, inputs=same_inputs(before, after), source_growth=growth
        )

    def _notes(self) -> Iterator[str]:
        """Yield what else isn't compared, and which entries accept nothing."""
        base, run = self._base.report, self._run.report
        yield from _other_configuration(base, run)
        yield from filter(None, map(self._other_inputs, self._run.results))
        if not _same_commit(base, run):
            whole = all(each.complete and coverage(each).is_whole for each in (base, run))
            yield from self._accepted.notes(everything=whole)

    def _other_inputs(self, name: str) -> str:
        known = self._base.results.get(self._previous.get(name, ""), {})
        others = sum(
            after.status.state is State.PASSED is known[label].status.state and not same_inputs(known[label], after)
            for label, after in self._run.results[name].items()
            if label in known
        )
        told = "its conversions ran" if others != 1 else "a conversion ran"
        return f"{name}: {told} on inputs of other shapes than in the base: only sizes are compared" if others else ""

    def _model(self, name: str, previous: str) -> ModelChange:
        before, after = self._base.results.get(previous, {}), self._run.results.get(name, {})
        keys = option_changes(
            self._base.given.get(previous), self._run.given.get(name), applied(before.values()), applied(after.values())
        )
        return ModelChange(
            name=name or previous,
            previous_name=previous if name and previous != name else "",
            source=self._source(name, previous),
            size_before=_size(before.values()),
            size_after=_size(after.values()),
            keys=tuple(self._judged_key(name, previous, each) for each in keys),
        )

    def _source(self, name: str, previous: str) -> Source:
        if not previous:
            return Source.NEW
        if not name:
            return Source.REMOVED
        before, after = self._base.sha256(previous), self._run.sha256(name)
        if not before or not after:
            return Source.UNKNOWN
        return Source.UNCHANGED if before == after else Source.CHANGED

    def _judged_key(self, name: str, previous: str, change: KeyChange) -> KeyChange:
        if not change.kind.loosens:
            return change
        accepted = self._accepted.reason(Regression.LOOSENED, _names(name, previous), change.key)
        return replace(change, accepted=accepted, is_regression=not accepted)


def _regression(change: Change, after: CellResult | None) -> Regression | None:
    """Return what has to be accepted of a change.

    Without a verdict of the base, whatever fails counts, as without a baseline.
    """
    match change:
        case Change.BROKEN:
            return Regression.BROKEN
        case Change.WORSE:
            return Regression.WORSE
        case Change.REMOVED:
            return Regression.REMOVED
        case Change.NEW | Change.NOT_COMPARED if after is not None:
            fails = fails_run(after) and after.status.state is not State.CANCELLED
            return Regression.BROKEN if fails else None
        case _:
            return None


def _other_configuration(base: Report, run: Report) -> tuple[str, ...]:
    """Return that the results are of another configuration than those of the base, if that is known."""
    names = [each.origin.config_path if each.origin is not None else None for each in (base, run)]
    if None in names or names[0] == names[1]:
        return ()
    return (f"the base is of the configuration {quote(str(names[0]))}, and this run of {quote(str(names[1]))}",)


def _same_commit(base: Report, run: Report) -> bool:
    """Return whether only machines and packages can differ."""
    one, other = base.origin, run.origin
    if one is None or other is None or not one.commit:
        return False
    return one.commit == other.commit and not one.modified and not other.modified


def _names(name: str, previous: str) -> Iterable[str]:
    return {name or previous, previous or name}


def _size(results: Iterable[CellResult]) -> int | None:
    """Return the size of the source model of conversions."""
    known = (each.source_model_config for each in results)
    return next((each.size_bytes for each in known if each is not None), None)
