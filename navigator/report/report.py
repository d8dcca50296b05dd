"""The report: built from results, and named as its readers see its files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from navigator.records import CellResult, Host, Report, Status
from navigator.report.storage import VERSION
from navigator.report.summary import counts


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
        results: every planned conversion once, in the plan's order.
        notes: sentences about the run as a whole.
        seconds: wall time so far.
        complete: whether the run came to its end.
        shard: which part of a run this is, see `Report`.
    """
    return Report(
        version=VERSION,
        environment=host,
        summary=counts(results),
        results=tuple(results),
        notes=tuple(notes),
        seconds=seconds,
        complete=complete,
        shard=shard,
    )


def seen_from(report: Report, root: Path) -> Report:
    """Return the report with its logs named relative to `root`, for readers to whom that is the repository."""

    def shown(status: Status) -> Status:
        path = status.log_path
        return replace(status, log_path=path.relative_to(root)) if path and path.is_relative_to(root) else status

    return replace(report, results=tuple(replace(each, status=shown(each.status)) for each in report.results))
