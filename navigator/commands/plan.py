"""`model-navigator plan`: shows what `convert` would do, and runs nothing."""

import argparse
import json
import sys

from navigator.commands import subject
from navigator.errors import ExitCode
from navigator.records import to_data
from navigator.render.streams import write


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Print the plan as text, as JSON or as a job matrix."""
    from navigator.plan.shards import matrix
    from navigator.render.columns import columns_of
    from navigator.render.plan import plan_text

    loaded = subject.load(namespace)
    plan = subject.chosen(subject.plan_of(loaded, subject.host_of(loaded)), namespace)
    if namespace.matrix:
        text = json.dumps(matrix(plan, namespace.max_shards))
    elif namespace.json:
        text = json.dumps(to_data(plan), indent=2)
    else:
        text = plan_text(plan, verbose=loaded.verbose, columns=columns_of(sys.stdout))
    write(f"{text}\n", sys.stdout)
    return ExitCode.OK
