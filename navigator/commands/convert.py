"""`model-navigator convert`: converts and verifies models, and reports the results."""

import argparse
import os
import shlex
import time

from navigator import config
from navigator.commands import subject
from navigator.errors import ExitCode
from navigator.records import Selection


def run(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    """Plan, and run the plan."""
    from navigator.engine.run import convert
    from navigator.engine.workspace import Workspace
    from navigator.github.event import cache_layer
    from navigator.github.origin import read_origin
    from navigator.plan.select import left_out
    from navigator.plan.shards import part_of

    started = time.monotonic()
    loaded = subject.load(namespace)
    host = subject.host_of(loaded)
    whole = subject.plan_of(loaded, host)
    plan = subject.chosen(whole, namespace)
    if namespace.shard:
        plan = part_of(plan, namespace.shard)
    selection = Selection(
        models=tuple(namespace.models), conversions=tuple(namespace.conversions), left_out=left_out(whole, plan)
    )
    notes = (*loaded.notes, *(f"{each.config.model_name}: {note}" for each in plan.models for note in each.notes))
    command = f"model-navigator {shlex.join(config.reproducing(arguments))}"
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
            cache_layer=cache_layer(os.environ),
        )
