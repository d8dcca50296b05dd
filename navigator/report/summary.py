"""What a report comes to: computed once, then read by everything that renders or judges it. Pure.

Owns which results fail a run, and which of them have a cause of their own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from navigator.errors import ExitCode
from navigator.records import CellResult, Report, State

# States that fail a run whoever asked for the conversion: it was tried and did not turn out well.
_FAILED = frozenset(
    {State.FAILED, State.MISMATCHED, State.CRASHED, State.TIMED_OUT, State.BLOCKED, State.CANCELLED},
)

# Conversions in these failed through no fault of their own.
_DOWNSTREAM = (State.BLOCKED, State.CANCELLED, State.UNAVAILABLE)

_SKIPPED = (State.NOT_APPLICABLE, State.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Group:
    """Results of one model that one sentence explains: they share state, message and remedy. Never empty."""

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
        """All of them, failed ones first."""
        return (*self.failed, *self.others)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A report, judged and sorted for readers.

    Attributes:
        report: what is summarized.
        exit_code: of a run that ended with this report; a run that did not end counts as cancelled.
        states: how many results are in each state, in the order of `State`; states that do not occur are absent.
        failed: every result that fails the run, in the plan's order.
        others: every other result, in the plan's order.
        failures: those of `failed` with a cause of their own.
        downstream: those of `failed` that are blocked, cancelled or unavailable.
        skipped: what was not tried, and was not expected to be.
        unverified: what was built and nothing here can run, if that does not fail the run.
        warnings: where verification proves little.
        models: what was tried, by model.
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

    @property
    def tried(self) -> int:
        """How many conversions were tried."""
        return len(self.failed) + len(self.others) - sum(len(each.results) for each in self.skipped)

    @property
    def weak(self) -> int:
        """How many conversions have a warning."""
        return sum(bool(each.warnings) for each in (*self.failed, *self.others))

    @property
    def cached(self) -> int:
        """How many conversions came from the cache."""
        return sum(each.cached for each in (*self.failed, *self.others))


def summarize(report: Report) -> Summary:
    """Judge a report and sort its results for readers."""
    failed, others = _split(report.results)
    states = Counter(each.status.state for each in report.results)
    skipped = [each for each in others if each.status.state in _SKIPPED]
    tried = [each for each in others if each.status.state not in _SKIPPED]
    return Summary(
        report=report,
        exit_code=_exit_code(states, failed, complete=report.complete),
        states={state: states[state] for state in State if states[state]},
        failed=failed,
        others=others,
        failures=_grouped(each for each in failed if each.status.state not in _DOWNSTREAM),
        downstream=_grouped(each for each in failed if each.status.state in _DOWNSTREAM),
        skipped=_grouped(skipped),
        unverified=_grouped(each for each in others if each.status.state is State.UNVERIFIED),
        warnings=_warnings(report.results),
        models=_models(report.results, failed, tried),
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
    """Tell whether a result fails the run.

    What this machine cannot make fails the run only if the user asked for it by name; what was built but cannot be
    run here, only if `fail_on_unverified` says so. What no converter makes does not fail it.
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


def _exit_code(states: Mapping[State, int], failed: Sequence[CellResult], *, complete: bool) -> ExitCode:
    if State.CANCELLED in states:
        return ExitCode.CANCELLED
    if failed:
        return ExitCode.FAILURE
    if not complete:
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
    """Return what was tried by model, in the order in which the plan names the models."""
    found: dict[str, tuple[list[CellResult], list[CellResult]]] = {each.model_name: ([], []) for each in results}
    for index, part in enumerate((failed, others)):
        for each in part:
            found[each.model_name][index].append(each)
    return tuple(ModelSummary(name, tuple(bad), tuple(rest)) for name, (bad, rest) in found.items() if bad or rest)
