"""Turns every accepted notation of a value into its canonical form, as plain data.

Reads single values and lists; `navigator.config.tensors` reads the values of named inputs and outputs. Checks the
notation and the choices; the schema has the limits.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from navigator.config.problems import Place, Problems, about
from navigator.config.schema import Option, flow, nearest
from navigator.config.yaml_nodes import Entries, Items, Node, Scalar
from navigator.errors import quote

NUMBER = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*", re.ASCII)
_LONGEST_NUMBER = 40
# What others call the choices of options.
_CALLED = {"tensorrt": "trt", "pytorch": "torchscript", "tensorflow": "tf-savedmodel", "half": "fp16", "float": "fp32"}
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

WrittenPath = tuple[str | int, ...]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The value of an option while it is read: where its problems go, and where its parts are."""

    option: Option
    problems: Problems
    places: dict[WrittenPath, Place] = {}

    def subject(self, place: Place) -> str:
        """Return the name of this option as the user wrote it: its key in a file, its flag on the command line."""
        return self.option.key if place.path else self.option.flag

    def example(self, place: Place) -> str:
        """Return a hint that shows how to write the option."""
        if place.path:
            return f"write e.g. {flow(self.option.example)}"
        return f"write e.g. {self.option.flag} {self.option.argument}".rstrip()

    def wrong(self, place: Place, text: str, hint: str = "") -> None:
        """Report a problem of this option. The hint defaults to an example of how to write it."""
        self.problems.add(place, f"{self.subject(place)}: {text}", hint or self.example(place))


def read_number(reading: Reading, node: Node, name: str = "") -> float | None:
    """Return a finite number, or report the problem; `name` is the entry that the number belongs to."""
    start = about(name)
    if not isinstance(node, Scalar):
        reading.wrong(node.place, f"{start}expected a single number, got {kind(node)}")
        return None
    text = node.text.strip()
    value = float(text.replace("_", "")) if len(text) <= _LONGEST_NUMBER and NUMBER.fullmatch(text) else None
    if value is None or value in (float("inf"), float("-inf")):
        finite = text.lower().lstrip("+-.") in ("inf", "infinity", "nan") or value is not None
        reading.wrong(node.place, f"{start}expected a {'finite ' if finite else ''}number, got {quote(node.text)}")
        return None
    return value


def read_integer(reading: Reading, node: Node, name: str = "") -> int | None:
    """Return a whole number (also one written as 4e9 or 14.0), or report the problem."""
    start = about(name)
    if not isinstance(node, Scalar):
        reading.wrong(node.place, f"{start}expected a single integer, got {kind(node)}")
        return None
    text = node.text.strip()
    if len(text) <= _LONGEST_NUMBER and node.kind != "bool":
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        if NUMBER.fullmatch(text) and float(text.replace("_", "")).is_integer():
            return int(float(text.replace("_", "")))
    reading.wrong(node.place, f"{start}expected an integer, got {quote(node.text)}")
    return None


def read_text(reading: Reading, node: Node) -> str | None:
    """Return a string as it is written: 22.10 stays 22.10."""
    if not isinstance(node, Scalar):
        reading.wrong(node.place, f"expected a string, got {kind(node)}")
        return None
    if found := _UNPRINTABLE.search(node.text):
        hint = "rename it" if reading.option.notation in ("path", "paths", "function") else ""
        # Python reads bytes of a name that aren't UTF-8 as surrogates.
        what = "is not UTF-8" if "\ud800" <= found[0] <= "\udfff" else "contains a control character"
        reading.wrong(node.place, f"{quote(node.text)} {what}", hint)
        return None
    if not node.text:
        reading.wrong(node.place, "must not be empty")
        return None
    return node.text


def read_choice(reading: Reading, node: Node) -> str | None:
    """Return one of the option's choices, with an older name replaced by the current one."""
    option = reading.option
    if not isinstance(node, Scalar):
        reading.wrong(node.place, f"expected a single choice, got {kind(node)}")
        return None
    word = node.text.strip()
    found = option.choice_aliases.get(word, word)
    if found in option.choices:
        return found
    meant = nearest(_CALLED.get(word.lower(), word), option.choices)
    hint = f"did you mean '{meant}'?" if meant else ""
    reading.wrong(node.place, f"expected {_either(option.choices)}, got {quote(node.text)}", hint)
    return None


def read_flag(reading: Reading, node: Node) -> bool | None:
    """Return a boolean."""
    word = node.text.lower() if isinstance(node, Scalar) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    choices = "true, false or auto" if reading.option.auto else "true or false"
    reading.wrong(node.place, f"expected {choices}, got {shown(node)}")
    return None


def read_list(reading: Reading, node: Node, read: Callable[[Reading, Node], Any]) -> list[Any] | None:
    """Return a list, also from a single value; None if any item is invalid."""
    if isinstance(node, Entries):
        reading.wrong(node.place, "expected a list, got a mapping")
        return None
    items: list[Any] = []
    for position, each in enumerate(node.nodes if isinstance(node, Items) else (node,)):
        reading.places[position,] = each.place
        if is_null(each):
            reading.wrong(each.place, "a list item is empty")
            items.append(None)
        else:
            items.append(read(reading, each))
    return None if any(item is None for item in items) else items


def is_null(node: Node) -> bool:
    """Tell whether nothing (or `null`) is written."""
    return isinstance(node, Scalar) and node.kind == "null"


def is_word(node: Node, word: str) -> bool:
    """Tell whether `word` is written alone; the command line gives it as a list of one."""
    if isinstance(node, Items) and len(node.nodes) == 1:
        node = node.nodes[0]
    return isinstance(node, Scalar) and node.text.strip() == word


def pieces(node: Scalar) -> Iterator[Scalar]:
    """Split `a=1,3 b=2` at spaces, but not at those around a comma."""
    for text in re.sub(r"\s*,\s*", ",", node.text).split():
        yield Scalar(node.place, text, "str")


def shown(node: Node) -> str:
    """Return a single value in quotes, or what kind of node is there instead, for problems."""
    return quote(node.text) if isinstance(node, Scalar) else kind(node)


def _either(choices: Sequence[str]) -> str:
    """Return "a, b or c"."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def kind(node: Node) -> str:
    """Return "a list", "a mapping" or "a single value", for problems."""
    match node:
        case Items():
            return "a list"
        case Entries():
            return "a mapping"
        case _:
            return "a single value"
