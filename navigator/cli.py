"""The command line: verbs, `load -> plan` and filters, and the last resort for errors.

Everything that costs time to import is imported inside the verb that needs it, so that `--help` and the answer
to a wrong configuration stay under 0.3 s.
"""

import argparse
import difflib
import json
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from navigator import __version__, config
from navigator.errors import ExitCode, NavigatorError, NothingToDoError
from navigator.records import Plan, RunConfig, to_data
from navigator.render.streams import open_missing, write

if TYPE_CHECKING:
    from navigator.records import Host

DEFAULT_CONFIG = "navigator.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`navigator.errors.ExitCode`)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    open_missing()
    try:
        namespace = _parsed(arguments)
        verb: Callable[[argparse.Namespace, list[str]], ExitCode] = namespace.verb
        return verb(namespace, arguments)
    except NavigatorError as error:
        _say(str(error), sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted", sys.stderr)
        return ExitCode.CANCELLED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}\n  free space or correct the permissions, then run again", sys.stderr)
        return ExitCode.CONFIGURATION
    except Exception:  # noqa: BLE001 - the last resort: an error of ours, said as such
        _say(traceback.format_exc(), sys.stderr)
        _say(f"This is a bug in model-navigator {__version__}: please report it with the lines above.", sys.stderr)
        return ExitCode.BUG


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; an unknown option is an error that names the nearest one."""
    parser, verbs = _parsers()
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        verb = next(verbs[word] for word in arguments if word in verbs)
        known = re.findall(r"--[a-z][a-z-]+", verb.format_help())
        wrong = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
        near = difflib.get_close_matches(wrong, known, n=1)
        verb.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {near[0]}?" if near else ""))
    return namespace


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of the verbs by name."""
    parser = argparse.ArgumentParser(
        prog="model-navigator",
        allow_abbrev=False,
        description="Convert models, verify every converted model against its source, report.",
        epilog="Exit codes: 0 all requested cells good, 1 some are not, 2 configuration wrong, "
        "3 nothing to do, 70 a bug of ours, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"model-navigator {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    common: dict[str, Any] = {"allow_abbrev": False, "formatter_class": config.HelpFormatter}
    convert = verbs.add_parser(
        "convert",
        help="convert, verify and report",
        description=f"Convert the models of --config-path (default: ./{DEFAULT_CONFIG}) or the one of --model-path.",
        **common,
    )
    config.add_options(convert)
    config.add_filters(convert)
    convert.set_defaults(verb=_convert)

    what = "check a navigator.yaml and report all of its problems"
    validate = verbs.add_parser("validate", help=what, description=f"{what.capitalize()}. Runs no model.", **common)
    config.add_file(validate)
    config.add_allow_outside(validate)
    validate.set_defaults(verb=_validate)

    what = "print every cell, its steps, and why it cannot run here"
    plan = verbs.add_parser("plan", help=what, description=f"{what.capitalize()}. Runs no model.", **common)
    config.add_file(plan)
    plan.add_argument("--json", action="store_true", help="print JSON")
    config.add_filters(plan)
    plan.set_defaults(verb=_plan)
    return parser, {"convert": convert, "validate": validate, "plan": plan}


def _validate(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    _say(f"{namespace.file}: valid, {_count(len(run.models), 'model')}")
    return ExitCode.OK


def _plan(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    from navigator.render.console import plan_text

    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    plan = _planned(run, _host(run), namespace)
    _say(json.dumps(to_data(plan), indent=2) if namespace.json else plan_text(plan))
    return ExitCode.OK


def _convert(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    from navigator.convert import convert
    from navigator.workspace import Workspace

    started = time.monotonic()
    run = _load(namespace)
    host = _host(run)
    plan = _planned(run, host, namespace)
    notes = (*config.notes(run), *(f"{each.config.model_name}: {note}" for each in plan.models for note in each.notes))
    # A reproduction must not clean away what the run made.
    command = f"model-navigator {shlex.join(each for each in arguments if each != '--override-workspace')}"
    with Workspace(run.workspace_path, clean=run.override_workspace) as workspace:
        return convert(plan, run, host, workspace, notes=notes, command=command, started=started)


def _load(namespace: argparse.Namespace) -> RunConfig:
    """Load the configuration of `convert`; a bare `convert` reads ./navigator.yaml."""
    overrides = config.overrides(namespace)
    path = overrides.pop("config_path", None)
    if path is None and "model_path" not in overrides and Path(DEFAULT_CONFIG).is_file():
        path = DEFAULT_CONFIG
    return config.load(
        Path(path) if path is not None else None,
        overrides,
        working_directory=Path.cwd(),
        allow_outside=namespace.allow_outside,
    )


def _host(run: RunConfig) -> "Host":
    """Describe this machine, its Docker daemon only where a conversion may need it."""
    from navigator.host import describe
    from navigator.placement import needs_docker

    return describe(docker=any(needs_docker(model) for model in run.models))


def _planned(run: RunConfig, host: "Host", namespace: argparse.Namespace) -> Plan:
    """Plan and filter.

    Raises:
        NothingToDoError: no cell is left.
    """
    from navigator.plan import plan, select

    whole = plan(run, host)
    chosen = select(whole, models=namespace.models, cells=namespace.cells)
    # Each by itself too: a name that is spelled wrong beside a right one would not be missed.
    idle = [("--models", glob) for glob in namespace.models if not select(whole, models=[glob]).models]
    idle += [("--cells", glob) for glob in namespace.cells if not select(whole, cells=[glob]).models]
    if idle or not chosen.models:
        wanted = idle or [("--models", " ".join(namespace.models)), ("--cells", " ".join(namespace.cells))]
        known = [
            f"{model.config.model_name}: {', '.join(cell.label for cell in model.cells)}" for model in whole.models
        ]
        raise NothingToDoError(
            f"no cell matches {' '.join(f'{option} {glob or chr(42)}' for option, glob in wanted)}",
            "the cells are\n    " + "\n    ".join(known),
        )
    return chosen


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say(text: str, stream: TextIO | None = None) -> None:
    # sys.stdout is looked up on each call, since callers replace it.
    write(f"{text}\n", stream or sys.stdout)
