"""The command line: verbs, `load -> plan` and filters, and the last resort for errors.

Everything that costs time to import is imported inside the verb that needs it, so that `--help` and the answer
to a wrong configuration stay under 0.3 s.
"""

import argparse
import difflib
import json
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from navigator import __version__, config
from navigator.errors import ConfigurationError, ExitCode, NavigatorError, NothingToDoError
from navigator.records import Json, Plan, RunConfig, to_data
from navigator.render.streams import open_missing, write

if TYPE_CHECKING:
    from navigator.records import Host

DEFAULT_CONFIG = "navigator.yaml"
_RESULTS = "convert_results.yaml"

# GitHub's limit for the outputs of a job, of which a matrix is one.
_MATRIX_BYTES = 2**20


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
    what = "only this part of the run, e.g. 3/7, of what the filters leave; `plan --matrix` lists the parts"
    convert.add_argument("--shard", default="", metavar="I/N", help=what)
    convert.set_defaults(verb=_convert)

    what = "check a navigator.yaml and report all of its problems"
    validate = verbs.add_parser("validate", help=what, description=f"{what.capitalize()}. Runs no model.", **common)
    config.add_file(validate)
    config.add_allow_outside(validate)
    validate.set_defaults(verb=_validate)

    what = "print every cell, its steps, and why it cannot run here"
    plan = verbs.add_parser("plan", help=what, description=f"{what.capitalize()}. Runs no model.", **common)
    config.add_file(plan)
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--matrix", action="store_true", help="print a job matrix for GitHub: the run in shards")
    plan.add_argument("--max-shards", type=int, default=16, metavar="N", help="at most so many (default: 16)")
    config.add_filters(plan)
    plan.set_defaults(verb=_plan)

    what = "merge the results of shards into one report"
    report = verbs.add_parser("report", help=what, description=f"{what.capitalize()}. Runs no model.", **common)
    what = f"a results file, or a directory with any number of {_RESULTS} in it"
    report.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=what)
    what = "where to write the merged results and summary (default: navigator_report)"
    report.add_argument("--output", type=Path, default=Path("navigator_report"), metavar="DIR", help=what)
    what = "what `plan --matrix` printed, or a file of it: planned cells that are missing are then reported"
    report.add_argument("--matrix", default="", metavar="FILE|JSON", help=what)
    report.set_defaults(verb=_report)
    return parser, {"convert": convert, "validate": validate, "plan": plan, "report": report}


def _validate(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    _say(f"{namespace.file}: valid, {_count(len(run.models), 'model')}")
    return ExitCode.OK


def _plan(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    from navigator.render.console import plan_text

    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    plan = _planned(run, _host(run), namespace)
    if namespace.matrix:
        from navigator.plan.shards import matrix

        _say(json.dumps(matrix(plan, namespace.max_shards)))
        return ExitCode.OK
    _say(json.dumps(to_data(plan), indent=2) if namespace.json else plan_text(plan))
    return ExitCode.OK


def _convert(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    from navigator.engine.run import convert
    from navigator.engine.workspace import Workspace

    started = time.monotonic()
    run = _load(namespace)
    host = _host(run)
    plan = _shard(_planned(run, host, namespace), namespace.shard)
    notes = (*run.notes, *(f"{each.config.model_name}: {note}" for each in plan.models for note in each.notes))
    command = f"model-navigator {shlex.join(_reproducing(arguments))}"
    with Workspace(run.workspace_path, clean=run.override_workspace) as workspace:
        return convert(plan, run, host, workspace, notes=notes, command=command, started=started, shard=namespace.shard)


def _report(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    from navigator.render.console import show_summary, shown
    from navigator.render.markdown import summary
    from navigator.report import report, storage
    from navigator.report.merge import merge

    matrix = _matrix(namespace.matrix) if namespace.matrix else None
    files = dict.fromkeys(file.resolve() for path in namespace.paths for file in _results(path, namespace.output))
    if not files and matrix is None:
        where = ", ".join(str(path) for path in namespace.paths)
        raise ConfigurationError(f"{where}: no {_RESULTS}", "name the directories where `convert` wrote its results")
    merged = merge([storage.read(file) for file in files], matrix)
    results, markdown = namespace.output / _RESULTS, namespace.output / "summary.md"
    namespace.output.mkdir(parents=True, exist_ok=True)
    storage.write(merged, results)
    markdown.write_text(summary(merged), encoding="utf-8")
    show_summary(merged)
    _say(f"results: {shown(results)}\nsummary: {shown(markdown)}")
    return report.exit_code(merged)


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
    from navigator.host.describe import describe
    from navigator.plan.placement import needs_docker

    return describe(docker=any(needs_docker(model) for model in run.models))


def _planned(run: RunConfig, host: "Host", namespace: argparse.Namespace) -> Plan:
    from navigator.plan.planner import plan
    from navigator.plan.select import chosen

    return chosen(plan(run, host), models=namespace.models, cells=namespace.conversions)


def _shard(plan: Plan, shard: str) -> Plan:
    """Return the part of `plan` to convert here; "" is all of it.

    Raises:
        NothingToDoError: the plan has fewer parts that can be parted.
    """
    if not shard:
        return plan
    from navigator.plan.shards import choose

    chosen = choose(plan, shard)
    if not chosen.models:
        raise NothingToDoError(
            f"shard {shard} holds no cell: what is made from one another stays together",
            "take the shards that `model-navigator plan --matrix` prints, with the same filters",
        )
    return chosen


def _reproducing(arguments: list[str]) -> Iterator[str]:
    """Yield what a reproduction repeats: it must not clean away what the run made, and names its cells itself."""
    words = iter(arguments)
    for word in words:
        if word == "--shard":
            next(words, None)
        elif word != "--override-workspace" and not word.startswith("--shard="):
            yield word


def _results(path: Path, output: Path) -> Iterator[Path]:
    """Yield the results file at or below `path`, but for what an earlier `report` wrote to `output`.

    Links are not followed: a downloaded artifact may hold any.
    """
    if not path.is_dir():
        yield path
        return
    for directory, below, files in os.walk(path):
        below[:] = sorted(name for name in below if (Path(directory) / name).resolve() != output.resolve())
        file = Path(directory) / _RESULTS
        if _RESULTS in files and file.is_file() and not file.is_symlink():
            yield file


def _matrix(given: str) -> Json:
    """Return the job matrix that is given as JSON or as a file of it."""
    what = "--matrix" if given.lstrip().startswith("{") else given
    try:
        if what == given:
            with Path(given).open("rb") as file:
                given = file.read(_MATRIX_BYTES).decode()
        return json.loads(given)
    except (OSError, ValueError, RecursionError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "give what `model-navigator plan --matrix` printed, or a file of it"
        raise ConfigurationError(f"{what}: not a job matrix: {why}", hint) from error


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say(text: str, stream: TextIO | None = None) -> None:
    # sys.stdout is looked up on each call, since callers replace it.
    write(f"{text}\n", stream or sys.stdout)
