"""`model-navigator convert`: converts and verifies models, and reports the results."""

import argparse
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from navigator import config
from navigator.commands import subject
from navigator.errors import ExitCode, NothingToDoError
from navigator.records import Report, Selection, State, to_data
from navigator.render.streams import write
from navigator.report.storage import RESULTS

# What running it again can't change, or needn't.
_SETTLED = (State.PASSED, State.NOT_APPLICABLE, State.UNAVAILABLE)


def run(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    """Plan, and run the plan; with --json, only the results are on standard output."""
    if not namespace.json:
        return _convert(namespace, arguments, lambda _report: None)
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        return _convert(namespace, arguments, lambda report: write(f"{json.dumps(to_data(report))}\n", stdout))


def _convert(namespace: argparse.Namespace, arguments: list[str], on_report: Callable[[Report], None]) -> ExitCode:
    from navigator.changes.base import read as read_base
    from navigator.changes.rehearsal import installed
    from navigator.engine.run import convert
    from navigator.engine.workspace import Workspace
    from navigator.github.event import cache_layer
    from navigator.github.origin import is_engine, read_origin
    from navigator.plan.planner import notes_of
    from navigator.plan.select import among, left_out
    from navigator.plan.shards import part_of

    started = time.monotonic()
    base = read_base(namespace.baseline) if namespace.baseline else None
    if base is not None and namespace.rehearsal:
        base = installed(base.report)
    loaded = subject.load(namespace)
    host = subject.host_of(loaded)
    whole = subject.plan_of(loaded, host)
    plan = subject.chosen(whole, namespace)
    if namespace.last_failed:
        plan = among(plan, _last_failed(loaded.workspace_path / RESULTS))
    if namespace.shard:
        plan = part_of(plan, namespace.shard)
    selection = Selection(
        models=tuple(namespace.models), conversions=tuple(namespace.conversions), left_out=left_out(whole, plan)
    )
    notes = (*loaded.notes, *notes_of(plan))
    command = namespace.rehearsal or f"model-navigator {shlex.join(config.reproducing(arguments))}"
    with Workspace(loaded.workspace_path, clean=loaded.override_workspace) as workspace:
        return convert(
            plan,
            loaded,
            host,
            workspace,
            notes=notes,
            command=command,
            started=started,
            shard=namespace.shard,
            origin=read_origin(loaded, os.environ),
            selection=selection,
            base=base,
            is_compared_later=is_engine(os.environ),
            is_rehearsal=bool(namespace.rehearsal),
            cache_layer=cache_layer(os.environ),
            on_report=on_report,
        )


def _last_failed(results: Path) -> set[tuple[str, str]]:
    """Return the conversions that neither passed nor were skipped in an earlier run, by model's name and label."""
    from navigator.report.storage import read

    if not results.is_file():
        hint = "run `model-navigator convert` without --last-failed first"
        raise NothingToDoError(f"--last-failed: there are no results in {results.parent} yet", hint)
    return {
        (each.model_name, each.conversion)
        for each in read(results).results
        if not each.intermediate and each.status.state not in _SETTLED
    }
