"""The summary of a report, computed once for everything that renders or evaluates it. Pure.

Decides which results fail a run, and which of them have their own cause.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import CellResult, Changes, FailOn, Report, State

# States that fail a run even if the conversion wasn't requested, since it was tried and failed.
_FAILED = frozenset(
    {State.FAILED, State.MISMATCHED, State.CRASHED, State.TIMED_OUT, State.BLOCKED, State.CANCELLED},
)

DOWNSTREAM = (State.BLOCKED, State.CANCELLED, State.UNAVAILABLE)
"""Conversions in these states have no cause of their own."""

_SKIPPED = (State.NOT_APPLICABLE, State.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Group:
    """Results of one model with the same state, message and remedy. Never empty."""

    results: tuple[CellResult, ...]

    @property
    def first(self) -> CellResult:
        return self.results[0]

    @property
    def conversions(self) -> tuple[str, ...]:
        return tuple(each.conversion for each in self.results)


@dataclass(frozen=True, slots=True)
class WeakCheck:
    """A warning that the verification of some conversions of a model proves little."""

    warning: str
    checked: Group


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The conversions of one model that were tried; `failed` are those that fail the run."""

    name: str
    failed: tuple[CellResult, ...]
    others: tuple[CellResult, ...]

    @property
    def results(self) -> tuple[CellResult, ...]:
        """All results, failed ones first."""
        return (*self.failed, *self.others)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How much of a configuration a report covers: models and conversions, without intermediate ones.

    As text it's "1 of 2 models", "3 of 5 conversions" of the covered models, or both; "" if everything is covered. It's
    "the way to 5 conversions" if none of them is covered.
    """

    models: int
    all_models: int
    conversions: int
    all_conversions: int
    conversions_of_models: int
    """All conversions of the covered models."""

    @property
    def is_whole(self) -> bool:
        return self.conversions == self.all_conversions

    def __str__(self) -> str:
        if not self.conversions and self.all_conversions:
            return f"the way to {self.all_conversions:,} conversion{'' if self.all_conversions == 1 else 's'}"
        parts = [
            (self.models, self.all_models, "model"),
            (self.conversions, self.conversions_of_models, "conversion"),
        ]
        return ", ".join(
            f"{some:,} of {every:,} {noun}{'' if every == 1 else 's'}" for some, every, noun in parts if some < every
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A report, evaluated and sorted for readers.

    Attributes:
        report: the report.
        exit_code: exit code of a run with this report; an unfinished run counts as cancelled. Results in `failed` don't
            fail one that fails on regressions and has a baseline.
        states: number of results in each state, in the order of `State`, without states that do not occur.
        failed: all results that fail a run without a baseline, in the order of the plan.
        others: all other results, in the order of the plan.
        failures: those of `failed` with their own cause.
        downstream: those of `failed` that are blocked, cancelled or unavailable.
        skipped: results that were not tried and don't fail the run.
        unverified: models that were built but can't be run here, if that doesn't fail the run.
        warnings: comparisons that prove little.
        models: results that were tried, by model.
        coverage: how much of the configuration the report covers: filters and shards leave out the rest.
        changes: the comparison with a baseline; None if nobody asked for one.
    """

    report: Report
    exit_code: ExitCode
    states: Mapping[State, int]
    failed: tuple[CellResult, ...]
    others: tuple[CellResult, ...]
    failures: tuple[Group, ...]
    downstream: tuple[Group, ...]
    skipped: tuple[Group, ...]
    unverified: tuple[Group, ...]
    warnings: tuple[WeakCheck, ...]
    models: tuple[ModelSummary, ...]
    coverage: Coverage
    changes: Changes | None = None

    @property
    def tried(self) -> int:
        """Number of conversions that were tried."""
        return len(self.failed) + len(self.others) - sum(len(each.results) for each in self.skipped)

    @property
    def weak(self) -> int:
        """Number of conversions with a warning."""
        return sum(bool(each.warnings) for each in (*self.failed, *self.others))

    @property
    def cached(self) -> int:
        """Number of conversions from the cache."""
        return sum(each.cached for each in (*self.failed, *self.others))


def summarize(report: Report, changes: Changes | None = None) -> Summary:
    """Evaluate a report and sort its results for readers; `changes` is its comparison with a baseline."""
    failed, others = _split(report.results)
    states = Counter(each.status.state for each in report.results)
    skipped = [each for each in others if each.status.state in _SKIPPED]
    tried = [each for each in others if each.status.state not in _SKIPPED]
    return Summary(
        report=report,
        exit_code=_exit_code(report, states, failed, changes),
        states={state: states[state] for state in State if states[state]},
        failed=failed,
        others=others,
        failures=_grouped(each for each in failed if each.status.state not in DOWNSTREAM),
        downstream=_grouped(each for each in failed if each.status.state in DOWNSTREAM),
        skipped=_grouped(skipped),
        unverified=_grouped(each for each in others if each.status.state is State.UNVERIFIED),
        warnings=_warnings(report.results),
        models=_models(report.results, failed, tried),
        coverage=coverage(report),
        changes=changes,
    )


def coverage(report: Report) -> Coverage:
    """Return how much of the configuration a report covers."""
    covered = Counter(each.model_name for each in report.results if not each.intermediate)
    left_out = {name: len(labels) for name, labels in report.selection.left_out.items()}
    conversions = covered.total()
    return Coverage(
        models=len(covered),
        all_models=len({*covered, *left_out}),
        conversions=conversions,
        all_conversions=conversions + sum(left_out.values()),
        conversions_of_models=conversions + sum(left_out.get(name, 0) for name in covered),
    )


def counts(results: Sequence[CellResult]) -> dict[str, int]:
    """Return the numbers that a results file holds under `summary`."""
    states = Counter(each.status.state for each in results)
    return {
        "total": len(results),
        "requested": sum(each.requested for each in results),
        "failures": len(_split(results)[0]),
        "cached": sum(each.cached for each in results),
        "warned": sum(bool(each.warnings) for each in results),
        **{str(state): states[state] for state in State if states[state]},
    }


def fails_run(result: CellResult) -> bool:
    """Return whether a result fails the run.

    A conversion that this machine can't run only fails the run if it was requested; one that was built but can't be
    verified here, only if it must be (`fail_on_unverified`). One without a converter never fails it.
    """
    state = result.status.state
    if state is State.UNVERIFIED:
        return result.must_be_verified
    return state in _FAILED or (state is State.UNAVAILABLE and result.requested)


def _split(results: Iterable[CellResult]) -> tuple[tuple[CellResult, ...], tuple[CellResult, ...]]:
    """Return the results that fail the run, and the others."""
    failed: list[CellResult] = []
    others: list[CellResult] = []
    for each in results:
        (failed if fails_run(each) else others).append(each)
    return tuple(failed), tuple(others)


def fails_on_regression(report: Report, changes: Changes | None) -> bool:
    """Return whether only regressions fail a run: it's configured, and there is something to compare with."""
    wanted = report.rules is not None and report.rules.fail_on is FailOn.REGRESSION
    return wanted and changes is not None and changes.baseline.found


def _exit_code(
    report: Report, states: Mapping[State, int], failed: Sequence[CellResult], changes: Changes | None
) -> ExitCode:
    if State.CANCELLED in states:
        return ExitCode.CANCELLED
    if changes is not None and fails_on_regression(report, changes):
        if changes.regresses:
            return ExitCode.FAILURE
    elif failed:
        return ExitCode.FAILURE
    if not report.complete:
        return ExitCode.CANCELLED
    return ExitCode.NOTHING_TO_DO if states.keys() <= set(_SKIPPED) else ExitCode.OK


def _grouped(results: Iterable[CellResult]) -> tuple[Group, ...]:
    found: dict[object, list[CellResult]] = {}
    for each in results:
        explanation = (each.model_name, each.status.state, each.status.message, each.remedy)
        found.setdefault(explanation, []).append(each)
    return tuple(Group(tuple(group)) for group in found.values())


def _warnings(results: Iterable[CellResult]) -> tuple[WeakCheck, ...]:
    found: dict[tuple[str, str], list[CellResult]] = {}
    for each in results:
        for warning in each.warnings:
            found.setdefault((each.model_name, warning), []).append(each)
    return tuple(WeakCheck(warning, Group(tuple(group))) for (_, warning), group in found.items())


def _models(
    results: Iterable[CellResult], failed: Iterable[CellResult], others: Iterable[CellResult]
) -> tuple[ModelSummary, ...]:
    """Return the results that were tried, by model, in the order of the plan."""
    found: dict[str, tuple[list[CellResult], list[CellResult]]] = {each.model_name: ([], []) for each in results}
    for index, part in enumerate((failed, others)):
        for each in part:
            found[each.model_name][index].append(each)
    return tuple(ModelSummary(name, tuple(bad), tuple(rest)) for name, (bad, rest) in found.items() if bad or rest)
