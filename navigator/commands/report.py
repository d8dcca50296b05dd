"""`model-navigator report`: merges the results of shards into one report."""

import argparse
import sys
import webbrowser
from pathlib import Path

from navigator.errors import ConfigurationError, ExitCode
from navigator.plain_data import parse_json
from navigator.records import Json
from navigator.render.streams import write
from navigator.report.storage import PAGE, RESULTS, SUMMARY

# GitHub's limit for the outputs of a job, of which a matrix is one.
_MATRIX_BYTES = 2**20


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Write and show the merged report."""
    from navigator.changes.base import read as read_base
    from navigator.changes.compare import compare
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
    base = read_base(namespace.baseline) if namespace.baseline else None
    merged = merge([read(file) for file in files], matrix, allow_partial=partial)
    summary = summarize(merged, compare(merged, base) if base is not None else None)
    if summary.report.complete and not partial and (missing := lacking(summary)):
        raise ConfigurationError(f"nothing was reported: {missing}", "convert the others too, or pass --allow-partial")
    namespace.output.mkdir(parents=True, exist_ok=True)
    write_files(summary, namespace.output)
    show_summary(summary)
    written = {"results": RESULTS, "summary": SUMMARY, "page": PAGE}
    write("".join(f"{what}: {shown(namespace.output / name)}\n" for what, name in written.items()), sys.stdout)
    if namespace.open and not webbrowser.open((namespace.output / PAGE).resolve().as_uri()):
        raise ConfigurationError(f"there is no browser here to open {PAGE} with", "open the file on another machine")
    return summary.exit_code


def _matrix(given: str) -> Json:
    """Return the job matrix that is given as JSON or as the name of a file."""
    what = "--matrix" if given.lstrip().startswith("{") else given
    try:
        if what == given:
            with Path(given).open("rb") as file:
                given = file.read(_MATRIX_BYTES).decode()
        return parse_json(given)
    except (OSError, ValueError) as error:
        wrong = f"can't be read: {error.strerror or error}" if isinstance(error, OSError) else f"isn't JSON: {error}"
        hint = "pass the output of `model-navigator plan --matrix`, or a file that contains it"
        raise ConfigurationError(f"{what} {wrong}", hint) from error
