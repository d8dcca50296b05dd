"""The parsers of the command line, and their errors: three lines that say what is wrong and what was probably meant."""

import argparse
import difflib
import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from navigator import __version__, config
from navigator.config.schema import options
from navigator.errors import ExitCode, one_line
from navigator.render.streams import write
from navigator.report.storage import RESULTS

PROGRAM = "model-navigator"
DEFAULT_CONFIG = "navigator.yaml"

_SHELLS = ("bash", "zsh", "tcsh")
_COMMAND = "COMMAND"
_BASELINE = f"compare with these results of an earlier commit: a {RESULTS}, or a directory to search for it"
_MAIN = "convert"
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off"})


class Parser(argparse.ArgumentParser):
    """Says errors in three lines, and writes what quotes arguments as `write` does."""

    def error(self, message: str) -> NoReturn:
        """End with what is wrong, what was probably meant, and where the options are listed."""
        text, hint = _explained(self, message)
        lines = [f"{self.prog}: error: {text}", *([f"  {hint}"] if hint else []), f"  see `{self.prog} --help`"]
        self.exit(ExitCode.CONFIGURATION, "\n".join(map(one_line, lines)) + "\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        write(message, file or sys.stderr)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser, verbs = parsers()
    namespace, unknown = parser.parse_known_args(arguments)
    if not unknown and _swallowed_file(namespace, arguments):
        return parser.parse_args([arguments[0], arguments[-1], *arguments[1:-1]])
    if unknown:
        verbs[namespace.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return namespace


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the command line, and the parsers of the verbs by name."""
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Convert models, verify each converted model against its source, and report the results. To begin: "
        f"`{PROGRAM} {_MAIN} model.onnx`.",
        epilog="Exit codes: 0 success, 1 a requested conversion failed, 2 invalid configuration or command line, "
        "3 nothing to convert, 70 internal error (please report it), 71 not enough memory, threads or open files, "
        "74 a file can't be read or written, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(required=True, metavar=_COMMAND, dest="command")
    _add_init(verbs)
    _add_inspect(verbs)
    _add_convert(verbs)
    _add_validate(verbs)
    _add_plan(verbs)
    _add_report(verbs)
    _add_rehearse(verbs)
    _add_completion(verbs)
    return parser, dict(verbs.choices)


def _verb(verbs: "argparse._SubParsersAction[Parser]", name: str, *, what: str, description: str) -> Parser:
    return verbs.add_parser(
        name, help=what, description=description, allow_abbrev=False, formatter_class=config.HelpFormatter
    )


def _add_convert(verbs: "argparse._SubParsersAction[Parser]") -> None:
    convert = _verb(
        verbs,
        "convert",
        what="convert and verify models, and report the results",
        description="Convert and verify a model, or the models of a configuration, and report the results.",
    )
    config.add_subject(convert)
    what = "run only one shard, e.g. 3/7, after applying the filters; `plan --matrix` lists the shards"
    convert.add_argument("--shard", default="", metavar="I/N", help=what)
    what = "run only conversions that neither passed nor were skipped in the last results in the workspace"
    convert.add_argument("--last-failed", action="store_true", help=what)
    convert.add_argument("--baseline", type=Path, metavar="PATH", help=_BASELINE)
    # Of `rehearse`, which runs this command: its own command line.
    convert.add_argument("--rehearsal", default="", help=argparse.SUPPRESS)
    what = "print the results as JSON on standard output, and everything else on standard error"
    convert.add_argument("--json", action="store_true", help=what)


def _add_init(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "write a navigator.yaml for models"
    description = f"{what[0].upper()}{what[1:]}, with comments and what is known of them. Never overwrites a file."
    init = _verb(verbs, "init", what=what, description=description)
    init.add_argument("models", type=Path, nargs="*", metavar="FILE", help="models, each a file or a SavedModel")
    what = f"the file to write (default: {DEFAULT_CONFIG})"
    init.add_argument("-o", "--output", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help=what)
    what = "also write .github/workflows/models.yml, which converts the models on every pull request"
    init.add_argument("--workflow", action="store_true", help=what)


def _add_inspect(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "show what is known of a model without running it: inputs, outputs, shapes, operators"
    inspect = _verb(verbs, "inspect", what=what, description=f"{what[0].upper()}{what[1:]}.")
    inspect.add_argument("model", type=Path, metavar="FILE", help="a model: a file, or the directory of a SavedModel")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    formats = options()["model_format"].choices
    what = "the format, if it can't be told from the content; one of: " + ", ".join(formats)
    inspect.add_argument("--model-format", choices=formats, metavar="FORMAT", help=what)
    what = "the signature of a SavedModel (default: serving_default, or the only one)"
    inspect.add_argument("--signature-name", metavar="NAME", help=what)
    what = "how long loading the model may take (default: 60)"
    inspect.add_argument("--timeout-seconds", type=_seconds, default=60.0, metavar="SECONDS", help=what)


def _seconds(text: str) -> float:
    """Return a time in seconds; argparse shows the error."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number greater than 0, got {text!r}")
    return seconds


def _add_validate(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "check a configuration or a model, and report all problems"
    config.add_subject(_verb(verbs, "validate", what=what, description=_runs_nothing(what)))


def _add_plan(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "show every planned conversion, and why any of them can't run on this machine"
    plan = _verb(verbs, "plan", what=what, description=_runs_nothing(what))
    config.add_subject(plan)
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--matrix", action="store_true", help="print a GitHub job matrix that splits the run into shards")
    plan.add_argument("--max-shards", type=int, default=16, metavar="N", help="maximum number of shards (default: 16)")


def _add_report(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "merge the results of shards into one report"
    report = _verb(verbs, "report", what=what, description=_runs_nothing(what))
    what = f"a results file, or a directory to search for {RESULTS} files"
    report.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=what)
    what = "directory for the merged results and summary (default: navigator_report)"
    report.add_argument("-o", "--output", type=Path, default=Path("navigator_report"), metavar="DIR", help=what)
    what = "output of `plan --matrix`, or a file that contains it; the report then shows which results are missing"
    report.add_argument("--matrix", default="", metavar="FILE|JSON", help=what)
    report.add_argument("--baseline", type=Path, metavar="PATH", help=_BASELINE)
    what = "report results that cover only a part of the configuration"
    report.add_argument("--allow-partial", action="store_true", help=what)
    report.add_argument("--open", action="store_true", help="open the page of the report in your browser")


def _add_rehearse(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "convert with the installed and with other versions of packages, and report what changes"
    description = f"{what[0].upper()}{what[1:]}. Nothing that is installed is changed."
    rehearse = _verb(verbs, "rehearse", what=what, description=description)
    config.add_subject(rehearse)
    rehearse.usage = "%(prog)s [FILE] --with REQUIREMENT [OPTION ...]"
    what = "a package and its proposed version, e.g. 'onnxruntime==1.31.*', or a file of such lines; may be repeated"
    rehearse.add_argument(
        "--with", action="append", required=True, dest="packages", metavar="REQUIREMENT|FILE", help=what
    )


def _add_completion(verbs: "argparse._SubParsersAction[Parser]") -> None:
    what = "print a script that completes commands and options in your shell"
    completion = _verb(verbs, "completion", what=what, description=_runs_nothing(what))
    what = "for example: `model-navigator completion bash > ~/.local/share/bash-completion/completions/model-navigator`"
    completion.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=f"one of: {', '.join(_SHELLS)}; {what}")


def _swallowed_file(namespace: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Return whether a list took FILE for its last value, as in `convert --target-formats onnx cnn.onnx`."""
    if getattr(namespace, "file", "") is not None:
        return False
    path = Path(arguments[-1])
    lists = (value for value in vars(namespace).values() if isinstance(value, list) and len(value) > 1)
    in_list = any(value[-1] == arguments[-1] for value in lists)
    return in_list and path.exists() and (config.has_model_suffix(path) or config.is_configuration(path))


def _runs_nothing(what: str) -> str:
    return f"{what[0].upper()}{what[1:]}. Doesn't run any model."


def _explained(parser: Parser, message: str) -> tuple[str, str]:
    """Return what is wrong, in argparse's words (Python 3.11 to 3.14) or clearer ones, and what was probably meant."""
    if message.startswith("unrecognized arguments: "):
        return message, _about_unknown(parser, message.partition(": ")[2].split(" "))
    if found := re.match(rf"argument {_COMMAND}: invalid choice: (['\"])(.*?)\1 \(", message):
        return f"unknown command {found[2]}", _about_command(parser, found[2])
    if message == f"the following arguments are required: {_COMMAND}":
        return "no command is given", f"for example: {PROGRAM} {_MAIN} FILE"
    if found := re.match(r"the following arguments are required: (.*)", message):
        value = "".join(f" {action.metavar}" for action in parser._actions if found[1] in action.option_strings)
        example = f"{found[1]}{value}"
        return message, f"for example: {parser.prog} {example}"
    if found := re.match(r"argument (.*?): not allowed with argument (.*)", message):
        return message, f"leave out {found[1]} or {found[2]}"
    if found := re.match(r"argument (--[\w-]+)/(--no-[\w-]+): ignored explicit argument", message):
        return message, f"write {found[1]} for true, or {found[2]} for false"
    if found := re.match(r"argument (.*?): ", message):
        return message, _example(parser, found[1])
    return message, ""


def _about_unknown(parser: Parser, words: Sequence[str]) -> str:
    wrong = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if wrong:
        near = difflib.get_close_matches(wrong, _flags(parser), n=1)
        return f"did you mean {near[0]}?" if near else ""
    if _BOOLEANS.intersection(map(str.lower, words)):
        return "options take no true or false: write, for example, --verbose for true, or --no-verbose for false"
    if any(action.dest == "file" for action in parser._actions):
        return f"several models need a configuration: `{PROGRAM} init FILE...` writes one"
    if any(action.dest == "model" for action in parser._actions):
        return "name one model at a time"
    return ""


def _about_command(parser: Parser, word: str) -> str:
    verbs = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices
    near = difflib.get_close_matches(word, verbs, n=1)
    if near:
        return f"did you mean `{PROGRAM} {near[0]}`?"
    path = Path(word)
    if config.has_model_suffix(path) or config.is_configuration(path) or config.is_model(path):
        return f"did you mean `{PROGRAM} {_MAIN} {shlex.quote(word)}`?"
    return f"the commands are {', '.join(cast('dict[str, Parser]', verbs))}"


def _example(parser: Parser, name: str) -> str:
    """Return how an argument with a wrong value or none is written; an option by all of its names, with `/`."""
    flags = name.split("/")
    action = next((each for each in parser._actions if {*flags} & {*each.option_strings, each.metavar}), None)
    if action is None:
        return ""
    option = options().get(action.dest)
    value = option.argument if option else action.default or next(iter(action.choices or ()), action.metavar) or ""
    return f"for example: {flags[-1] if action.option_strings else parser.prog} {value}".rstrip()


def _flags(parser: Parser) -> list[str]:
    # argparse has no public list of what a parser takes.
    return [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
