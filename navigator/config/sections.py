"""Turns the nodes of a file, or the options of the command line, into canonical values with their places.

A section is a set of options in one place: a flat file, the defaults, one model, an annotation file, the command
line. This module decides about keys: aliases, unknown keys and misplaced ones.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from navigator.config import acceptances, scores, tensors, values
from navigator.config.checks import Value
from navigator.config.problems import COMMAND_LINE, Problems, about
from navigator.config.schema import (
    AUTO,
    COMMAND_LINE_ONLY,
    MODEL,
    RUN,
    Option,
    broken_limits,
    flag,
    nearest,
    options,
    spellings,
)
from navigator.config.values import Reading
from navigator.config.yaml_nodes import Entries, Entry, Node, to_node
from navigator.errors import quote

_READERS: dict[str, Callable[[Reading, Node], Any]] = {
    "text": values.read_text,
    "path": values.read_text,
    "function": values.read_text,
    "flag": values.read_flag,
    "integer": values.read_integer,
    "number": values.read_number,
    "choice": values.read_choice,
    "choices": lambda reading, node: values.read_list(reading, node, values.read_choice),
    "integers": lambda reading, node: values.read_list(reading, node, values.read_integer),
    "texts": lambda reading, node: values.read_list(reading, node, values.read_text),
    "paths": lambda reading, node: values.read_list(reading, node, values.read_text),
    "tolerances": tensors.read_tolerances,
    "shapes": tensors.read_shapes,
    "ranges": tensors.read_ranges,
    "dtypes": tensors.read_dtypes,
    "tensors": tensors.read_tensors,
    "names": tensors.read_names,
    "arguments": tensors.read_arguments,
    "gates": scores.read_gates,
    "scores": scores.read_scores,
    "counts": tensors.read_counts,
    "acceptances": acceptances.read_acceptances,
}

FORMS = ("models", "defaults")


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one place: valid values by canonical key, and the keys whose values are invalid."""

    values: Mapping[str, Value] = {}
    wrong: frozenset[str] = frozenset()

    def over(self, other: "Section") -> "Section":
        """Return both; if both have an option, the value here replaces the other as a whole."""
        return Section(values={**other.values, **self.values}, wrong=self.wrong | other.wrong)

    def only(self, scope: str) -> "Section":
        """Return the options of one scope, in the schema's order."""
        return Section(
            values={key: self.values[key] for key in _keys(scope) if key in self.values},
            wrong=self.wrong,
        )


@cache
def _keys(scope: str) -> tuple[str, ...]:
    return tuple(option.key for option in options().values() if option.scope == scope)


def read_section(
    entries: Sequence[Entry], problems: Problems, *, forbidden: Mapping[str, tuple[str, str]] | None = None
) -> Section:
    """Read a section.

    Args:
        entries: keys as written, with their nodes.
        problems: collects the problems.
        forbidden: canonical keys that are not allowed here, each with a message and a hint. Defaults to the keys that
            no file may have.
    """
    forbidden = _misplaced_in_file() if forbidden is None else forbidden
    written: dict[str, Entry] = {}
    found: dict[str, Value] = {}
    meant: set[str] = set()
    for entry in entries:
        key = spellings().get(entry.key)
        if key is None:
            meant.add(_note_unknown(entry, problems))
        elif key in forbidden:
            problems.add(entry.place, *forbidden[key])
        elif key in written:
            first = written[key]
            where = f" at line {first.place.line}, column {first.place.column}" if first.place.line else ""
            text = f"{quote(entry.key)} is the same option as {quote(first.key)}{where}"
            problems.add(entry.place, text, "remove one of them")
        else:
            written[key] = entry
            value = _read(options()[key], entry, problems)
            if value is not None:
                found[key] = value
    good = _within_limits(found, problems)
    return Section(values=good, wrong=frozenset(meant | written.keys()) - good.keys())


def read_overrides(overrides: Mapping[str, Any], problems: Problems) -> Section:
    """Read the options of the command line."""
    entries = [Entry(key, COMMAND_LINE, to_node(data, COMMAND_LINE)) for key, data in overrides.items()]
    return read_section([entry for entry in entries if entry.key != "config_path"], problems, forbidden={})


def misplaced_in_model() -> dict[str, tuple[str, str]]:
    """Return the keys that a model under `models:` may not have."""
    run = {
        option.key: (f"{quote(option.key)} applies to the whole run, not to one model", "move it to 'defaults'")
        for option in options().values()
        if option.scope == RUN
    }
    return {**run, **_misplaced_in_file()}


def beside_models(entry: Entry, problems: Problems) -> None:
    """Report a key that is next to `models` and `defaults`."""
    key = spellings().get(entry.key)
    if key is None:
        _note_unknown(entry, problems)
    elif options()[key].scope == MODEL:
        text = f"{quote(entry.key)} is not allowed next to 'models'"
        problems.add(entry.place, text, "move it into a model, or to 'defaults' for all models")
    else:
        problems.add(entry.place, f"{quote(entry.key)} is not allowed next to 'models'", "move it to 'defaults'")


def entries_of(node: Node | None, subject: str, problems: Problems) -> Sequence[Entry]:
    """Return the entries of a mapping, or report that `subject` must be one."""
    if node is None:
        return ()
    if isinstance(node, Entries):
        return node.entries
    problems.add(node.place, f"{subject} must be a mapping, not {values.kind(node)}", "write it as 'key: value' lines")
    return ()


def unused(models: Sequence[Mapping[str, Value]]) -> list[str]:
    """Return a sentence for each option that somebody gave although `convert` does nothing with it."""
    unused = [option.key for option in options().values() if option.unused]
    return [f"{key} has no effect on `convert`" for key in unused if any(key in values for values in models)]


def _misplaced_in_file() -> dict[str, tuple[str, str]]:
    """Return the keys that no file may have."""
    return {
        option.key: (f"{quote(option.key)} can't be set in a file", f"pass {option.flag} on the command line")
        for option in options().values()
        if option.scope == COMMAND_LINE_ONLY
    }


def _note_unknown(entry: Entry, problems: Problems) -> str:
    """Report an unknown key, and return the canonical one that it probably stands for, or ""."""
    if entry.place.path is None:
        problems.add(entry.place, f"unknown option {flag(entry.key)}", "see --help")
        return ""
    meant = None if problems.full else nearest(entry.key, [*options(), *FORMS, *spellings()])
    hint = f"did you mean '{meant}'?" if meant else "`model-navigator convert --help` lists all options"
    problems.add(entry.place, f"unknown key {quote(entry.key)}", hint)
    return spellings().get(meant or "", "")


def _read(option: Option, entry: Entry, problems: Problems) -> Value | None:
    reading = Reading(option=option, problems=problems)
    if values.is_null(entry.value):
        if not option.nullable:
            reading.wrong(entry.place, "must not be empty", f"remove the key, or {reading.example(entry.place)}")
            return None
        data = None
    elif option.auto and values.is_word(entry.value, AUTO):
        data = AUTO
    else:
        data = _READERS[option.notation](reading, entry.value)
        if data is None:
            return None
    return Value(key=option.key, data=data, place=entry.value.place, places=reading.places)


def _within_limits(found: dict[str, Value], problems: Problems) -> dict[str, Value]:
    """Return the values within the limits of the schema, and report the others."""
    broken = set()
    for (key, *path), text in broken_limits({key: value.data for key, value in found.items()}):
        option, value = options()[str(key)], found[str(key)]
        reading = Reading(option=option, problems=problems)
        place = value.at(*path)
        start = "".join(about(part) for part in path if isinstance(part, str))
        reading.wrong(place, start + text, f"use {option.expects}" if option.expects else "")
        broken.add(key)
    return {key: value for key, value in found.items() if key not in broken}
