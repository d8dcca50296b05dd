"""The command line: its verbs and filters, and what happens to errors that nothing else handles.

Modules that are slow to import are imported in the verb that needs them, so that `--help` and the errors of an
invalid configuration take less than 0.3 s.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from navigator import __version__, config, disks
from navigator.engine import interrupts
from navigator.errors import ConfigurationError, ExitCode, NavigatorError, exhausted, one_line, remedy
from navigator.plain_data import parse_json
from navigator.records import Json, Plan, RunConfig, Selection, to_data
from navigator.render.streams import Parser, lost, open_missing, write
from navigator.render.values import count
from navigator.report.storage import RESULTS, SUMMARY

if TYPE_CHECKING:
    from navigator.records import Host

DEFAULT_CONFIG = "navigator.yaml"

# GitHub's limit for the outputs of a job, of which a matrix is one.
_MATRIX_BYTES = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`navigator.errors.ExitCode`)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
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
            namespace = _parsed(arguments)
            from navigator.host.limits import require_resources

            require_resources()
            verb: Callable[[argparse.Namespace, list[str]], ExitCode] = namespace.verb
            return verb(namespace, arguments)
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


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; the error about an unknown option suggests the nearest one."""
    parser, verbs = parsers()
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        verb = next(verbs[word] for word in arguments if word in verbs)
        known = re.findall(r"--[a-z][a-z-]+", verb.format_help())
        wrong = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
        near = difflib.get_close_matches(wrong, known, n=1)
        text = f"unrecognized arguments: {one_line(' '.join(unknown))}"
        verb.error(f"{text}; did you mean {near[0]}?" if near else text)
    return namespace


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and the parsers of the verbs by name."""
    parser = Parser(
        prog="model-navigator",
        allow_abbrev=False,
        description="Convert models, verify each converted model against its source, and report the results.",
        epilog="Exit codes: 0 success, 1 a requested conversion failed, 2 invalid configuration or command line, "
        "3 nothing to convert, 70 internal error (please report it), 71 not enough memory, threads or open files, "
        "74 a file can't be read or written, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"model-navigator {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    common: dict[str, Any] = {"allow_abbrev": False, "formatter_class": config.HelpFormatter}
    convert = verbs.add_parser(
        "convert",
        help="convert and verify models, and report the results",
        description=f"Convert and verify the models in --config-path (default: ./{DEFAULT_CONFIG}), or the model at "
        "--model-path, and report the results.",
        **common,
    )
    config.add_options(convert)
    config.add_filters(convert)
    what = "run only one shard, e.g. 3/7, after applying the filters; `plan --matrix` lists the shards"
    convert.add_argument("--shard", default="", metavar="I/N", help=what)
    convert.set_defaults(verb=_convert)

    what = "check a configuration file and report all of its problems"
    validate = verbs.add_parser("validate", help=what, description=_runs_nothing(what), **common)
    config.add_file(validate)
    config.add_allow_outside(validate)
    validate.set_defaults(verb=_validate)

    what = "show every planned conversion, and why any of them can't run on this machine"
    plan = verbs.add_parser("plan", help=what, description=_runs_nothing(what), **common)
    config.add_file(plan)
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--matrix", action="store_true", help="print a GitHub job matrix that splits the run into shards")
    plan.add_argument("--max-shards", type=int, default=16, metavar="N", help="maximum number of shards (default: 16)")
    config.add_filters(plan)
    plan.set_defaults(verb=_plan)

    what = "merge the results of shards into one report"
    report = verbs.add_parser("report", help=what, description=_runs_nothing(what), **common)
    what = f"a results file, or a directory to search for {RESULTS} files"
    report.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=what)
    what = "directory for the merged results and summary (default: navigator_report)"
    report.add_argument("--output", type=Path, default=Path("navigator_report"), metavar="DIR", help=what)
    what = "output of `plan --matrix`, or a file that contains it; the report then shows which results are missing"
    report.add_argument("--matrix", default="", metavar="FILE|JSON", help=what)
    what = "report results that cover only a part of the configuration"
    report.add_argument("--allow-partial", action="store_true", help=what)
    report.set_defaults(verb=_report)
    return parser, {"convert": convert, "validate": validate, "plan": plan, "report": report}


def _validate(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    _say(f"{one_line(str(namespace.file))}: valid, {count(len(run.models), 'model')}")
    return ExitCode.OK


def _plan(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    from navigator.render.console import plan_text

    run = config.load(namespace.file, {}, working_directory=Path.cwd(), allow_outside=namespace.allow_outside)
    plan = _chosen(_plan_all(run, _host(run)), namespace)
    if namespace.matrix:
        from navigator.plan.shards import matrix

        _say(json.dumps(matrix(plan, namespace.max_shards)))
        return ExitCode.OK
    _say(json.dumps(to_data(plan), indent=2) if namespace.json else plan_text(plan))
    return ExitCode.OK


def _convert(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    from navigator.engine.run import convert
    from navigator.engine.workspace import Workspace
    from navigator.github.event import cache_layer
    from navigator.github.origin import read_origin
    from navigator.plan.select import left_out
    from navigator.plan.shards import part_of

    started = time.monotonic()
    run = _load(namespace)
    host = _host(run)
    whole = _plan_all(run, host)
    plan = _chosen(whole, namespace)
    if namespace.shard:
        plan = part_of(plan, namespace.shard)
    selection = Selection(
        models=tuple(namespace.models), conversions=tuple(namespace.conversions), left_out=left_out(whole, plan)
    )
    notes = (*run.notes, *(f"{each.config.model_name}: {note}" for each in plan.models for note in each.notes))
    command = f"model-navigator {shlex.join(config.reproducing(arguments))}"
    with Workspace(run.workspace_path, clean=run.override_workspace) as workspace:
        return convert(
            plan,
            run,
            host,
            workspace,
            notes=notes,
            command=command,
            started=started,
            shard=namespace.shard,
            origin=read_origin(run, os.environ),
            selection=selection,
            cache_layer=cache_layer(os.environ),
        )


def _report(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    from navigator.render.console import show_summary, shown
    from navigator.render.files import write_files
    from navigator.report.merge import merge
    from navigator.report.origin import lacking
    from navigator.report.ownership import check_report_directory
    from navigator.report.storage import found_below, read
    from navigator.report.summary import summarize

    check_report_directory(namespace.output)
    matrix = _matrix(namespace.matrix) if namespace.matrix else None
    files = dict.fromkeys(
        file.resolve() for path in namespace.paths for file in found_below(path, skip=namespace.output)
    )
    if not files and matrix is None:
        where = ", ".join(str(path) for path in namespace.paths)
        hint = "pass the directories where `convert` wrote its results"
        raise ConfigurationError(f"{where}: no {RESULTS} found", hint)
    partial = namespace.allow_partial
    summary = summarize(merge([read(file) for file in files], matrix, allow_partial=partial))
    if summary.report.complete and not partial and (missing := lacking(summary)):
        raise ConfigurationError(f"nothing was reported: {missing}", "convert the others too, or pass --allow-partial")
    namespace.output.mkdir(parents=True, exist_ok=True)
    write_files(summary, namespace.output)
    show_summary(summary)
    _say(f"results: {shown(namespace.output / RESULTS)}\nsummary: {shown(namespace.output / SUMMARY)}")
    return summary.exit_code


def _load(namespace: argparse.Namespace) -> RunConfig:
    """Load the configuration of `convert`, by default from ./navigator.yaml."""
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
    """Describe this machine, and its Docker daemon if a conversion may need it."""
    from navigator.host.describe import describe
    from navigator.plan.placement import needs_docker

    return describe(docker=any(needs_docker(model) for model in run.models))


def _plan_all(run: RunConfig, host: "Host") -> Plan:
    from navigator.plan.planner import plan

    return plan(run, host)


def _chosen(plan: Plan, namespace: argparse.Namespace) -> Plan:
    from navigator.plan.select import chosen

    return chosen(plan, models=namespace.models, conversions=namespace.conversions)


def _matrix(given: str) -> Json:
    """Return the job matrix that is given as JSON or as the name of a file."""
    what = "--matrix" if given.lstrip().startswith("{") else given
    try:
        if what == given:
            with Path(given).open("rb") as file:
                given = file.read(_MATRIX_BYTES).decode()
        return parse_json(given)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "pass the output of `model-navigator plan --matrix`, or a file that contains it"
        raise ConfigurationError(f"{what}: not a job matrix: {why}", hint) from error


def _runs_nothing(what: str) -> str:
    return f"{what[0].upper()}{what[1:]}. Doesn't run any model."


def _say(text: str, stream: TextIO | None = None) -> None:
    # Looks up sys.stdout on each call, since callers replace it.
    write(f"{text}\n", stream or sys.stdout)
