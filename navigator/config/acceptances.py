"""Turns every accepted notation of `accept` into its canonical form: {what is accepted: why}."""

import re
from collections.abc import Iterator

from navigator.config.schema import nearest
from navigator.config.values import Reading, is_null, read_text, shown
from navigator.config.yaml_nodes import Entries, Entry, Items, Node, Scalar
from navigator.errors import quote
from navigator.records import Regression

_KEY = re.compile(r"(?P<what>\S+) (?P<model>[^\s/]+)(/(?P<name>\S+))?")
_WRITTEN = re.compile(r"(?P<key>[^:=]+)[:=](?P<reason>.*)", re.DOTALL)


def read_acceptances(reading: Reading, node: Node) -> dict[str, str] | None:
    """Return {"WHAT MODEL/NAME": reason}, or report the problems."""
    found: dict[str, str] = {}
    for entry in _entries(reading, node):
        key = " ".join(entry.key.split())
        reading.places[key,] = entry.place
        problem = _problem(key)
        if problem is not None:
            reading.wrong(entry.place, *problem)
        elif key in found:
            reading.wrong(entry.place, f"{quote(key)} is set twice", "remove one of them")
        elif is_null(entry.value) or (isinstance(entry.value, Scalar) and not entry.value.text.strip()):
            reading.wrong(entry.place, f"{quote(key)} has no reason", "write after it why you accept that")
        else:
            text = read_text(reading, entry.value)
            if text is not None:
                found[key] = text.strip()
    return found


def _entries(reading: Reading, node: Node) -> Iterator[Entry]:
    match node:
        case Entries():
            yield from node.entries
        case Items():
            for each in node.nodes:
                yield from _entries(reading, each)
        case _:
            written = _WRITTEN.fullmatch(node.text)
            if written is None:
                reading.wrong(node.place, f"expected what you accept and why, got {shown(node)}")
            else:
                yield Entry(written["key"], node.place, Scalar(node.place, written["reason"], "str"))


def _problem(key: str) -> tuple[str, str] | None:
    """Return what is wrong with what is accepted, and what to do."""
    found = _KEY.fullmatch(key)
    if found is None:
        return f"expected WHAT MODEL/CONVERSION, got {quote(key)}", ""
    known = [str(each) for each in Regression]
    if found["what"] in known:
        return None
    meant = nearest(found["what"], known)
    hint = f"did you mean '{meant}'?" if meant else f"use one of {', '.join(known)}"
    return f"can't accept {quote(found['what'])}", hint
