"""`model-navigator completion`: prints a script that completes commands, options and files in a shell."""

import argparse
import sys
from pathlib import Path

from navigator.commands.parsers import Parser, parsers
from navigator.config.schema import options
from navigator.errors import ConfigurationError, ExitCode
from navigator.frameworks.availability import how_to_install
from navigator.render.streams import write_raw


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Print the script for a shell."""
    try:
        import shtab
    except ImportError as error:
        raise ConfigurationError("not installed: shtab", how_to_install(["shtab"], "completion")) from error
    parser, verbs = parsers()
    for verb in verbs.values():
        _complete_values(verb, shtab.FILE)
    write_raw(f"{shtab.complete(parser, shell=namespace.shell)}\n", sys.stdout)
    return ExitCode.OK


def _complete_values(parser: Parser, files: dict[str, str]) -> None:
    """Let the values of a command be completed: choices of the schema, and files."""
    for action in parser._actions:
        option = options().get(action.dest)
        if option is not None and option.choices:
            action.choices = option.choices
        elif action.type is Path or (option is not None and option.notation in ("path", "paths")):
            action.complete = files  # type: ignore[attr-defined] # shtab's way
