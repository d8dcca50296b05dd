"""The report: built from results, judged, and written as convert_results.yaml.

Owns what makes a run good. Renders nothing: words for people are `navigator.render`'s.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from navigator.errors import ExitCode
from navigator.records import CellResult, Host, Report, State, Status
from navigator.report.storage import VERSION

# States that fail a run whoever asked for the cell: something was tried and did not turn out well.
_BAD = frozenset(
    {State.FAILED, State.MISMATCHED, State.CRASHED, State.TIMED_OUT, State.BLOCKED, State.CANCELLED},
)


def build(
    host: Host,
    results: Sequence[CellResult],
    *,
    notes: Sequence[str] = (),
    seconds: float = 0.0,
    complete: bool = False,
    shard: str = "",
) -> Report:
    """Return the report of a run with its counts.

    Args:
        host: the machine.
        results: every planned cell once, in the plan's order.
        notes: sentences about the run as a whole.
        seconds: wall time so far.
        complete: whether the run came to its end.
        shard: which part of a run this is, see `Report`.
    """
    states = Counter(result.status.state for result in results)
    counts = {
        "total": len(results),
        "requested": sum(result.requested for result in results),
        "failures": sum(is_bad(result) for result in results),
        "cached": sum(result.cached for result in results),
        "warned": sum(bool(result.warnings) for result in results),
    }
    counts |= {str(state): states[state] for state in State if states[state]}
    return Report(
        version=VERSION,
        environment=host,
        summary=counts,
        results=tuple(results),
        notes=tuple(notes),
        seconds=seconds,
        complete=complete,
        shard=shard,
    )


def is_bad(result: CellResult) -> bool:
    """Tell whether a cell fails the run.

    What this machine cannot make fails the run only where the user asked for it by name; what was built but cannot be
    run here, only where `fail_on_unverified` says so. What no converter makes does not fail it.
    """
    state = result.status.state
    if state is State.UNVERIFIED:
        return result.must_be_verified
    return state in _BAD or (state is State.UNAVAILABLE and result.requested)


def exit_code(report: Report) -> ExitCode:
    """Return the exit code of a run that ended with `report`; a run that did not end counts as cancelled."""
    states = {result.status.state for result in report.results}
    if State.CANCELLED in states:
        return ExitCode.CANCELLED
    if any(is_bad(result) for result in report.results):
        return ExitCode.FAILURE
    if not report.complete:
        return ExitCode.CANCELLED
    if states <= {State.NOT_APPLICABLE, State.UNAVAILABLE}:
        return ExitCode.NOTHING_TO_DO
    return ExitCode.OK


def seen_from(report: Report, root: Path) -> Report:
    """Return the report with its logs named relative to `root`, for readers to whom that is the repository."""

    def shown(status: Status) -> Status:
        path = status.log_path
        return replace(status, log_path=path.relative_to(root)) if path and path.is_relative_to(root) else status

    return replace(report, results=tuple(replace(each, status=shown(each.status)) for each in report.results))


def good(report: Report) -> bool:
    """Tell whether the run ended and every requested cell is good."""
    return exit_code(report) is ExitCode.OK
