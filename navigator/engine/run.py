"""Runs a plan: executes it, writes the report after every step, and shows it at the end.

Decides what is on disk and on the terminal during a run, and the exit code. No result is lost if a file can't be
written.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from navigator.cache.layers import TRUSTED, Layers
from navigator.changes.base import Base, without
from navigator.changes.compare import compare
from navigator.engine import interrupts
from navigator.engine.execute import Execution
from navigator.engine.listener import Listener
from navigator.engine.output_path import deliver
from navigator.engine.schedule import Unit
from navigator.engine.workspace import Workspace
from navigator.errors import ExitCode
from navigator.host.limits import available_memory_bytes
from navigator.records import Host, Origin, Plan, Report, Rules, RunConfig, Selection, State
from navigator.render.console import Progress, show_log, show_summary, shown
from navigator.render.files import UnwrittenError, write_files
from navigator.render.streams import write
from navigator.report import report, storage
from navigator.report.summary import Summary, fails_run, summarize
from navigator.safe_files import open_file

_LONGEST_PROGRESS = 200


class _Record:
    """The report of a run on disk. `unwritten` are messages about files that could not be written at the end."""

    def __init__(
        self,
        host: Host,
        workspace: Workspace,
        cache: Layers | None,
        *,
        notes: tuple[str, ...],
        started: float,
        shard: str,
        origin: Origin | None,
        selection: Selection | None,
        run: RunConfig,
        base: Base | None,
        is_compared_later: bool,
    ) -> None:
        self._host = host
        self._workspace = workspace
        self._cache = cache
        self._notes = notes
        self._started = started
        self._shard = shard
        self._origin = origin
        self._selection = selection
        self._rules = Rules(fail_on=run.fail_on, fail_on_unverified=run.fail_on_unverified, accept=run.accept)
        self._base = base
        self._uncompared = without("") if is_compared_later else None
        self._file = storage.ResultsFile(workspace.results)
        self.unwritten = ""

    def begin(self, execution: Execution) -> None:
        """Write that nothing has run yet: the report of an earlier run must never be mistaken for the one of this run.

        If that can't be written, there is no report.
        """
        with suppress(OSError):
            self._workspace.summary.unlink(missing_ok=True)
            self._workspace.page.unlink(missing_ok=True)
        try:
            self._file.write(self._report(execution))
        except OSError:
            with suppress(OSError):
                self._workspace.results.unlink(missing_ok=True)

    def write(self, execution: Execution) -> None:
        """Write the results so far. If that fails, the run continues and `end` tries again."""
        with suppress(OSError):
            self._file.write(self._report(execution))

    def end(self, execution: Execution, *, complete: bool, more: tuple[str, ...]) -> Summary:
        """Write the final results and the summary."""
        final = self._report(execution, complete=complete, more=more)
        summary = summarize(final, compare(final, self._base) if self._base is not None else self._uncompared)
        try:
            write_files(summary, self._workspace.path)
        except UnwrittenError as error:
            self.unwritten = str(error)
        return summary

    def _report(self, execution: Execution, *, complete: bool = False, more: tuple[str, ...] = ()) -> Report:
        return report.build(
            self._host,
            execution.results(),
            notes=(*self._notes, *execution.notes(), *(self._cache.notes if self._cache else ()), *more),
            found=execution.found(),
            seconds=time.monotonic() - self._started,
            complete=complete,
            shard=self._shard,
            origin=self._origin,
            selection=self._selection,
            rules=self._rules,
            models=execution.given(),
            timeline=execution.timeline.spans,
        )


def convert(
    plan: Plan,
    run: RunConfig,
    host: Host,
    workspace: Workspace,
    *,
    notes: tuple[str, ...],
    command: str,
    started: float,
    shard: str = "",
    origin: Origin | None = None,
    selection: Selection | None = None,
    base: Base | None = None,
    is_compared_later: bool = False,
    is_rehearsal: bool = False,
    cache_layer: str = TRUSTED,
    on_report: Callable[[Report], None] = lambda _report: None,
) -> ExitCode:
    """Execute `plan` and return the exit code; always writes results and summary.

    Args:
        plan: the plan to execute.
        run: the options of the run.
        host: this machine.
        workspace: the workspace.
        notes: notes for the report.
        command: command line of this run, to reproduce failures.
        started: when the run began, by time.monotonic().
        shard: the shard that `plan` is, see `Report`; a shard doesn't write `output_path`.
        origin: where the results come from.
        selection: the part of the configuration that `plan` is; None: all of it.
        base: what to compare the results with; None: nothing.
        is_compared_later: whether the caller compares, so that nobody is told here that nothing is.
        is_rehearsal: whether nobody wants the converted models; a rehearsal doesn't write `output_path`.
        cache_layer: the layer of the cache that this run writes, see `Layers`.
        on_report: called with the final report, after it was written and shown.
    """
    cache = Layers(run.cache_path, run.cache_size_bytes, cache_layer) if run.cache_path else None
    record = _Record(
        host,
        workspace,
        cache,
        notes=notes,
        started=started,
        shard=shard,
        origin=origin,
        selection=selection,
        run=run,
        base=base,
        is_compared_later=is_compared_later,
    )
    progress = Progress(plan, doing=lambda model, label: _doing(workspace.progress(model, label)))

    execution = Execution(
        plan,
        run,
        host,
        workspace=workspace,
        cache=cache,
        memory_bytes=run.memory_limit_bytes or int(available_memory_bytes() * 0.9),
        command=command,
        started=started,
        listener=Listener(
            on_progress=progress.say,
            on_start=lambda unit: progress.started(unit.model, unit.label, unit.kind),
            on_end=lambda unit: _ended(unit, execution, record, progress, workspace if run.verbose else None),
        ),
    )
    record.begin(execution)
    undelivered = f"this is only shard {shard} of the run" if shard else "this is a rehearsal" if is_rehearsal else ""
    return _run_to_end(plan, execution, record, progress, workspace, undelivered, on_report)


def _run_to_end(
    plan: Plan,
    execution: Execution,
    record: _Record,
    progress: Progress,
    workspace: Workspace,
    undelivered: str,
    on_report: Callable[[Report], None],
) -> ExitCode:
    """Run `execution`, then write and show what came out, also after an interrupt or an internal error."""
    cancelled = False
    try:
        with progress:
            try:
                execution.run()
            finally:
                interrupts.hold()
    except KeyboardInterrupt:
        cancelled = True
    finally:
        interrupts.hold()  # also if nothing began
        more = ("interrupted: unfinished conversions are marked cancelled",) if cancelled else ()
        delivered = _delivered(plan, execution, undelivered)
        lines = (*more, *(line for line, _ in delivered))
        final = record.end(execution, complete=not cancelled and sys.exc_info()[0] is None, more=lines)
    _show(final, record, workspace)
    on_report(final.report)
    if cancelled or interrupts.seen():
        return ExitCode.CANCELLED
    # A requested file that could not be written is a failure.
    fine = not record.unwritten and all(done for _, done in delivered)
    return final.exit_code if fine else ExitCode.FAILURE


def _delivered(plan: Plan, execution: Execution, undelivered: str) -> list[tuple[str, bool]]:
    """Write `output_path` of each model that has one, or say why not; return messages, and whether that's fine."""
    wanted = [model for model in plan.models if model.config.output_path]
    if wanted and undelivered:
        return [(f"output_path isn't written: {undelivered}", True)]
    return [deliver(model, execution.results()) for model in wanted]


def _ended(unit: Unit, execution: Execution, record: _Record, progress: Progress, logs: Workspace | None) -> None:
    """Record and show the conversions that a unit decided: its own, and those that depend on it."""
    record.write(execution)
    if logs is not None:
        show_log(logs.log(unit.model, unit.label, unit.kind))
    progress.finished(unit.model, unit.label, unit.kind)
    results = execution.results_of(unit.model)
    own = next((each.status for each in results if each.conversion == unit.label), None)
    for each in sorted(results, key=fails_run, reverse=True):
        same = own is not None and own.state is State.NOT_APPLICABLE and each.status == own
        if each.conversion == unit.label or each.status.state is State.BLOCKED or same:
            progress.decided(each, failed=fails_run(each))


def _doing(path: Path) -> str:
    """Return how far a conversion is, in its worker's words, or ""."""
    try:
        with open_file(path, path.parent) as file:
            return file.read(_LONGEST_PROGRESS).decode("utf-8", "replace")
    except OSError:
        return ""


def _show(final: Summary, record: _Record, workspace: Workspace) -> None:
    show_summary(final)
    if record.unwritten:
        write(f"{record.unwritten}\n", sys.stderr)
    else:
        files = {"results": workspace.results, "summary": workspace.summary, "page": workspace.page}
        write("".join(f"{name}: {shown(path)}\n" for name, path in files.items()), sys.stdout)
