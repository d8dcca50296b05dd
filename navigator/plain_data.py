"""Reads JSON and YAML that others wrote, as JSON's types: null, booleans, finite numbers, strings, lists, mappings.

Time and memory grow with the length of the text only. YAML has the scalars of its core schema (YAML 1.2.2, 10.3), and
neither tags, aliases, duplicate keys nor a second document.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from navigator.errors import quote

_DEEPEST = 32
_MOST_VALUES = 2_000_000
# The time to read digits grows with their square. `repr` writes no float in more than 24 characters.
_LONGEST_NUMBER = 100

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class PlainDataError(ValueError):
    """The text isn't JSON or YAML of JSON's types; the message says what is wrong, and where."""


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        PlainDataError: it's no JSON, not UTF-8, nested too deeply, or has a duplicate key or a number that isn't
            finite or beyond 64 bits.
    """
    try:
        return json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_float,
        )
    except RecursionError as error:
        raise PlainDataError("nested too deeply") from error
    except PlainDataError:
        raise
    except ValueError as error:
        raise PlainDataError(str(error)) from error


def parse_yaml(content: bytes) -> Any:
    """Return what the one document of a YAML file in UTF-8 holds; None if there is none.

    Raises:
        PlainDataError: see above; its message begins with the line.
    """
    return _Document().read(content)


def line_of(content: bytes, path: Sequence[str | int]) -> int:
    """Return the line of a value in a YAML file that `parse_yaml` reads, or of the innermost one around it.

    Args:
        content: the file's.
        path: keys and indexes from the root to the value.
    """
    locator = _Locator(path)
    locator.read(content)
    return locator.line


def _events(content: bytes) -> Iterator[Any]:
    """Yield the events of a YAML text; errors as of `parse_yaml`."""
    import yaml  # not in containers, which read JSON only

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PlainDataError(f"line {line}: byte 0x{content[error.start]:02x} isn't valid UTF-8") from error
    try:
        yield from yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PlainDataError(f"{_line(mark)}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlainDataError(f"line {line}: {error.reason}") from error
    except yaml.YAMLError as error:
        raise PlainDataError(str(error)) from error


class _Document:
    """Builds the value of a document from a parser's events, without recursion."""

    def __init__(self) -> None:
        self.root: Any = None
        self.documents = 0
        self.values = 0
        self.open: list[list[Any] | dict[str, Any]] = []
        self.keys: list[str | None] = []

    def read(self, content: bytes) -> Any:
        from yaml import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
        from yaml.events import CollectionEndEvent

        for event in _events(content):
            if isinstance(event, ScalarEvent):
                self.add(event, event.value if self.is_key else _scalar(event))
            elif isinstance(event, SequenceStartEvent | MappingStartEvent):
                made: list[Any] | dict[str, Any] = {} if isinstance(event, MappingStartEvent) else []
                if self.is_key:
                    raise _refused(event, "a key is a list or a mapping, not text")
                self.add(event, made)
                self.open.append(made)
                self.keys.append(None)
            elif isinstance(event, CollectionEndEvent):
                self.open.pop()
                self.keys.pop()
            elif isinstance(event, AliasEvent):
                raise _refused(event, "a YAML alias isn't allowed here")
            elif isinstance(event, DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise _refused(event, "a second YAML document starts here")
        return self.root

    @property
    def is_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1], dict) and self.keys[-1] is None

    def add(self, event: Any, value: Any) -> None:
        """Put a value, or the key of the next one, where it belongs."""
        self.values += 1
        if self.values > _MOST_VALUES:
            raise _refused(event, f"more than {_MOST_VALUES:,} values")
        if len(self.open) >= _DEEPEST:
            raise _refused(event, f"more than {_DEEPEST} levels")
        if event.tag is not None:
            raise _refused(event, "a YAML tag isn't allowed here")
        if not self.open:
            self.root = value
        elif isinstance(above := self.open[-1], list):
            above.append(value)
        elif (key := self.keys[-1]) is not None:
            above[key] = value
            self.keys[-1] = None
        elif value in above:
            raise _refused(event, f"the key {quote(value)} is there twice")
        else:
            self.keys[-1] = value


class _Locator(_Document):
    """Finds the line of a value."""

    def __init__(self, path: Sequence[str | int]) -> None:
        super().__init__()
        self.path = list(path)
        self.line = 1

    def add(self, event: Any, value: Any) -> None:
        if self.open and not self.is_key:
            *above, last = self.open
            place = [next(reversed(each)) if isinstance(each, dict) else len(each) - 1 for each in above]
            place.append(len(last) if self.keys[-1] is None else self.keys[-1])
            if place == self.path[: len(place)]:
                self.line = event.start_mark.line + 1
        super().add(event, value)


def _scalar(event: Any) -> Any:
    """Return the value of a scalar: text, unless the core schema resolves it, unquoted, to something else."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    try:
        if _INTEGER.fullmatch(text):
            return _integer(text)
        if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            return _float(text)
    except PlainDataError as error:
        raise _refused(event, str(error)) from error
    return text


def _integer(text: str) -> int:
    value = int(text, 0 if text.startswith(("0x", "0o")) else 10) if len(text) <= _LONGEST_NUMBER else None
    if value is None or not -(2**63) <= value < 2**64:
        raise PlainDataError(f"the number {quote(text)} has more than 64 bits")
    return value


def _float(text: str) -> float:
    value = math.nan if _NOT_FINITE.fullmatch(text) or len(text) > _LONGEST_NUMBER else float(text)
    if not math.isfinite(value):
        raise PlainDataError(f"{quote(text)} isn't a finite number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise PlainDataError(f"the key {quote(key)} is there twice")
            seen.add(key)
    return made


def _refused(event: Any, why: str) -> PlainDataError:
    return PlainDataError(f"{_line(event.start_mark)}: {why}")


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}"
