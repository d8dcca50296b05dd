"""`model-navigator validate`: checks a configuration or a model, and runs nothing."""

import argparse
import sys

from navigator.commands import subject
from navigator.errors import ExitCode, one_line
from navigator.render.streams import write
from navigator.render.values import count


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Report all problems, or that there are none."""
    loaded = subject.load(namespace)
    write(f"{one_line(subject.named(namespace))}: valid, {count(len(loaded.models), 'model')}\n", sys.stdout)
    return ExitCode.OK
