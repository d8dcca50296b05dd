"""Turns the options of the schema into command-line arguments. `navigator.config.load` checks their values."""

import argparse
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from navigator.config.schema import Option, flag, flow, options

_LISTS = frozenset(
    {"choices", "integers", "texts", "paths", "tolerances", "shapes", "ranges", "dtypes", "tensors", "counts"}
    | {"names", "arguments", "gates", "scores", "acceptances"}
)
_METAVARS: Mapping[str, str] = {
    "text": "TEXT",
    "path": "PATH",
    "function": "PATH:FUNCTION",
    "paths": "PATH",
    "integer": "N",
    "integers": "N",
    "number": "NUMBER",
    "texts": "TEXT",
    "tolerances": "OUTPUT=NUMBER",
    "shapes": "INPUT=D0,D1,...",
    "ranges": "INPUT=LOW,HIGH",
    "dtypes": "INPUT=DTYPE",
    "names": "OUTPUT=INPUT",
    "arguments": "ARGUMENT=VALUE",
    "gates": "MEASURE=LIMIT",
    "scores": "OUTPUT[=AXIS]",
    "tensors": "NAME:SHAPE:DTYPE",
    "counts": "KIND=N",
    "acceptances": "WHAT MODEL/NAME=REASON",
}


_FILTERS = ("--models", "--conversions")
_NOT_REPRODUCED = {
    "--override-workspace": 0,
    "--last-failed": 0,
    "--json": 0,
    "--verbose": 0,
    "--shard": 1,
    "--baseline": 1,
} | dict.fromkeys(_FILTERS, math.inf)
"""What a command that reproduces one conversion says itself or needn't say, and how many values each takes."""


class HelpFormatter(argparse.HelpFormatter):
    """Breaks lines only at spaces, so that names such as `tf-savedmodel` stay whole; names a repeated value once."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        repeats = action.nargs == "+"
        return f"{action.metavar or default_metavar} ..." if repeats else super()._format_args(action, default_metavar)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of the schema to `parser`, in groups.

    Options that are not on the command line are not in the namespace: the loader applies defaults.
    """
    # argparse takes what starts with '-' for an option unless this pattern says that it is a value, as for shapes and
    # ranges such as -1,3. There is no public way to set it (Python 3.11 to 3.14).
    parser._negative_number_matcher = re.compile(r"^-[0-9.]")
    groups: dict[str, Any] = {}
    for option in options().values():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Add what a command works on, a configuration or a model, with every option and the filters."""
    # All options would be a page of their own.
    parser.usage = "%(prog)s [FILE] [OPTION ...]"
    what = "a configuration, such as navigator.yaml, or a model (default: ./navigator.yaml); put it before all options"
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help=what)
    add_options(parser)
    add_filters(parser)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what chooses models and conversions, and what lets a file name more."""
    for name, what in zip(_FILTERS, ("models whose name", "conversions whose label"), strict=True):
        parser.add_argument(
            name, nargs="+", action="extend", default=[], metavar="GLOB", help=f"only {what} matches a pattern"
        )
    what = "let the configuration name files and directories outside its repository"
    parser.add_argument("--allow-outside", action="store_true", help=what)


def overrides(namespace: argparse.Namespace) -> dict[str, Any]:
    """Return the options on the command line by key, as strings, lists of strings and booleans."""
    typed = vars(namespace)
    return {key: typed[key] for key in options() if key in typed}


def reproducing(arguments: list[str]) -> Iterator[str]:
    """Yield the arguments for reproducing the result of a conversion, which the command names after them."""
    left_out: float = 0
    for word in arguments:
        name, has_value, _ = word.partition("=")
        if word.startswith("-"):
            left_out = 0 if has_value else _NOT_REPRODUCED.get(name, 0)
        elif left_out:
            left_out -= 1
            continue
        if name not in _NOT_REPRODUCED:
            yield word


def _add(group: Any, option: Option) -> None:
    names = [*option.flags, option.flag, *(flag(alias) for alias in option.aliases)]
    shared: dict[str, Any] = {"dest": option.key, "default": argparse.SUPPRESS, "help": _help(option)}
    if option.notation == "flag":
        group.add_argument(*names, action=argparse.BooleanOptionalAction, **shared)
    elif option.notation in _LISTS:
        group.add_argument(*names, nargs="+", action="extend", metavar=_metavar(option), **shared)
    else:
        group.add_argument(*names, metavar=_metavar(option), **shared)


def _metavar(option: Option) -> str:
    if option.choices:
        return option.key.rsplit("_", 1)[-1].upper().removesuffix("S")
    return _METAVARS[option.notation]


def _help(option: Option) -> str:
    parts = [option.description]
    if option.choices:
        parts.append(f"One of: {', '.join(option.choices)}.")
    if option.default not in (None, [], {}) and (option.notation != "flag" or option.auto):
        parts.append(f"Default: {_typed(option.default)}.")
    if option.notation in _LISTS:
        parts.append(f"Example: {option.flag} {option.argument}")
    return " ".join(parts).replace("%", "%%")


def _typed(default: Any) -> str:
    """Return a default as a user would type it; the default for all outputs has no name there."""
    if isinstance(default, Mapping):
        return " ".join(f"{name}={flow(each)}" if name else flow(each) for name, each in default.items())
    return " ".join(flow(each) for each in default) if isinstance(default, list) else flow(default)
