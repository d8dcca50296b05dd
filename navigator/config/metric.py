"""Checks the user's own metric without running it: its file is there, and holds the function."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from navigator.config.checks import Values
from navigator.config.paths import instead, is_file
from navigator.config.problems import Problems
from navigator.config.schema import nearest
from navigator.errors import listed, quote, remedy
from navigator.models.files import pointer_problem

_ABOUT_IT = ("metric_lower_is_better", "quality")
_MOST_BYTES = 2**20
_SIGNATURE_HINT = "write it as `def {}(outputs, sample):`, or with `source` as a third argument"

_CORRECT = "correct the file: it isn't valid Python"

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def split(text: str) -> tuple[str, str]:
    """Return path and function of `path.py:function`."""
    path, _, function = text.rpartition(":")
    return path, function


def check_metric(values: Values, data: Mapping[str, Any], problems: Problems) -> None:
    """Report a metric that can't be called, and options of one that isn't there.

    Args:
        values: the options of a model.
        data: the same as data, with absolute paths.
        problems: collects the problems.
    """
    if "metric" in data:
        value, metric = values["metric"], data["metric"]
        for message, hint in metric_problems(metric["path"], metric["function"]):
            problems.add(value.place, f"{value.subject}: {message}", hint)
    elif "metric" not in values:
        for value in (values[key] for key in _ABOUT_IT if key in values):
            text = f"{value.subject}: is about a metric, and this model has none"
            problems.add(value.place, text, "set metric to path.py:function, or remove this")


def metric_problems(path: Path, function: str) -> Iterator[tuple[str, str]]:
    """Yield why a metric can't be called, and what to do about it."""
    if not is_file(path):
        yield f"{path} does not exist", instead(path)
        return
    pointers = list(pointer_problem(path))
    if pointers:
        yield from pointers
        return
    try:
        if path.stat().st_size > _MOST_BYTES:
            yield f"{path} is larger than 1 MiB", "keep the metric in a file of its own"
            return
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        yield f"{path} can't be read: {error.strerror or error}", remedy(error) or "check the path"
    except SyntaxError as error:
        yield f"{path}, line {error.lineno}: {error.msg}", _CORRECT
    except (ValueError, RecursionError, MemoryError):
        yield f"{path} can't be parsed", _CORRECT
    else:
        yield from _function_problems(path.name, function, tree.body)


def _function_problems(file: str, function: str, body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    names: dict[str, ast.stmt] = {}
    everything = False
    for statement in _statements(body):
        found = list(_named(statement))
        everything |= "*" in found
        names.update(dict.fromkeys(found, statement))
    defined = names.get(function)
    if defined is None:
        if not everything:  # what `import *` brings is only known when it's run
            functions = [name for name, each in names.items() if isinstance(each, _Function)]
            meant = nearest(function, functions)
            hint = f"its functions are {listed(functions)}" if functions else "define it, or correct metric"
            if meant:
                hint = f"did you mean {quote(meant)}?"
            yield f"{file} has no function {quote(function)}", hint
    elif isinstance(defined, ast.ClassDef | ast.AsyncFunctionDef):
        what = "a class" if isinstance(defined, ast.ClassDef) else "a coroutine"
        yield f"{quote(function)} in {file} is {what}, not a function", _SIGNATURE_HINT.format(function)
    elif isinstance(defined, ast.FunctionDef) and not _takes_both(defined.args):
        text = f"{quote(function)} in {file}, line {defined.lineno}, can't be called with outputs and a sample"
        yield text, _SIGNATURE_HINT.format(function)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, with those in blocks such as `if` and `try`, not those in functions."""
    for statement in body:
        yield statement
        if not isinstance(statement, _Function | ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, name, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _statements(handler.body)


def _named(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement gives something, "*" for any."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            yield from (each.asname or each.name for each in statement.names)
        case ast.Assign():
            for target in statement.targets:
                yield from _assigned(target)
        case ast.AnnAssign():
            yield from _assigned(statement.target)


def _assigned(target: ast.expr) -> Iterator[str]:
    yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _takes_both(arguments: ast.arguments) -> bool:
    """Return whether a function can be called with two arguments, and `source` by its name if it takes that."""
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    required = positional[: len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    missing = [each.arg for each, default in keywords if default is None] + required[2:]
    enough = len([each for each in positional if each != "source"]) >= 2 or arguments.vararg is not None
    return enough and not set(missing) - {"source"} and "source" not in positional[:2]
