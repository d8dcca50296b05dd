"""Builds the report from results, with paths for its readers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from navigator.records import CellResult, FoundShapes, Given, Host, Origin, Report, Rules, Selection, Span, State
from navigator.report.storage import VERSION
from navigator.report.summary import counts


def build(
    host: Host,
    results: Sequence[CellResult],
    *,
    notes: Sequence[str] = (),
    found: Sequence[FoundShapes] = (),
    seconds: float = 0.0,
    complete: bool = False,
    shard: str = "",
    origin: Origin | None = None,
    selection: Selection | None = None,
    rules: Rules | None = None,
    models: Sequence[Given] = (),
    timeline: Sequence[Span] = (),
) -> Report:
    """Return the report of a run with its counts.

    Args:
        host: the machine.
        results: every planned conversion once, in the order of the plan.
        notes: messages about the whole run.
        found: what running the source models told, at most once for each.
        seconds: wall time so far.
        complete: whether the run ended normally.
        shard: the shard of the run, see `Report`.
        origin: where the results come from.
        selection: the part of the configuration that was converted; None: all of it.
        rules: what decides whether the run fails; None if it's unknown.
        models: what was given of each model, as far as it's known.
        timeline: what the workers did.
    """
    return Report(
        version=VERSION,
        environment=host,
        summary=counts(results),
        results=tuple(results),
        notes=tuple(notes),
        found=tuple(found),
        seconds=seconds,
        complete=complete,
        shard=shard,
        origin=origin,
        selection=selection or Selection(),
        rules=rules,
        models=tuple(models),
        timeline=tuple(timeline),
    )


def broken_off(report: Report, why: str, remedy: str) -> Report:
    """Return the incomplete report of a run that nobody cancelled: what it didn't finish failed, because of `why`."""

    def decided(result: CellResult) -> CellResult:
        if result.status.state is not State.CANCELLED:
            return result
        status = replace(result.status, state=State.CRASHED, message=f"not finished: {why}")
        return replace(result, status=status, remedy=remedy)

    results = tuple(decided(each) for each in report.results)
    return replace(report, summary=counts(results), results=results, notes=(*report.notes, f"Unfinished: {why}"))


def seen_from(report: Report, root: Path) -> Report:
    """Return the report with paths relative to `root`, the repository of its readers, also in its texts."""

    def seen(result: CellResult) -> CellResult:
        path, status = result.status.log_path, result.status
        status = replace(
            status,
            message=without_root(status.message, root),
            log_path=path.relative_to(root) if path and path.is_relative_to(root) else path,
        )
        return replace(result, status=status, remedy=without_root(result.remedy, root))

    return replace(
        report,
        results=tuple(map(seen, report.results)),
        notes=tuple(without_root(note, root) for note in report.notes),
    )


def without_root(text: str, root: Path) -> str:
    """Return a text with the paths below `root` relative to it."""
    return text.replace(f"{root}/", "") if root != root.parent else text
