"""The command line's entry, and what happens to errors that nothing else handles."""

import argparse
import gc
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from navigator import __version__, disks
from navigator.commands import parsers
from navigator.engine import interrupts
from navigator.errors import ExitCode, NavigatorError, exhausted, remedy
from navigator.render.streams import lost, open_missing, write

# Thousands of models are hundreds of thousands of objects, and hardly any garbage: to look for it after every 700 new
# ones, as Python does, takes a quarter of the time of `validate`.
_OBJECTS = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`navigator.errors.ExitCode`)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    gc.set_threshold(_OBJECTS)
    open_missing()
    try:
        return _unless_lost(_run(arguments))
    except SystemExit as end:  # argparse's
        end.code = _unless_lost(int(end.code or 0))
        raise


def _unless_lost(code: int) -> int:
    """Return the exit code of a command, and tell if what it printed is lost: a verdict stands nevertheless."""
    if (error := lost()) is None:
        return code
    _say_error(error)
    return code or ExitCode.IO_ERROR


def _run(arguments: list[str]) -> int:
    try:
        with interrupts.caught():
            namespace = parsers.parse(arguments)
            from navigator.host.limits import require_resources

            require_resources()
            # Only the module of this command is imported: together they take longer than `--help` may take.
            command = importlib.import_module(f"navigator.commands.{namespace.command}")
            run: Callable[[argparse.Namespace, list[str]], ExitCode] = command.run
            return run(namespace, arguments)
    except KeyboardInterrupt:
        _say("interrupted", sys.stderr)
        return ExitCode.CANCELLED
    except Exception as error:  # noqa: BLE001 - the last resort
        if isinstance(told := exhausted(error) or error, NavigatorError):
            _say(str(told), sys.stderr)
            return told.exit_code
        if isinstance(error, OSError):
            _say_error(error)
            return ExitCode.IO_ERROR
        lines = f"{traceback.format_exc()}Internal error in model-navigator {__version__}"
        _say(f"{lines}: please report it with the lines above.", sys.stderr)
        return ExitCode.BUG


def _say_error(error: OSError) -> None:
    where = f"{error.filename}: " if error.filename else ""
    _say(str(NavigatorError(f"{where}{disks.reason(error, Path.cwd())}", remedy(error))), sys.stderr)


def _say(text: str, stream: TextIO) -> None:
    write(f"{text}\n", stream)
