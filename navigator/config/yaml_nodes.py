"""Reads untrusted YAML and keeps the position of every value.

Builds nodes from parser events, never objects: tags have no effect, aliases are bounded, keys stay as written.
Knows nothing about options.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from navigator.config.paths import instead
from navigator.config.problems import Place, Problems
from navigator.config.yaml_syntax import note_syntax
from navigator.errors import quote, remedy
from navigator.models.files import FETCH_LFS, begins_pointer

# Enough for 8,000 models and more.
MAX_BYTES = 4 * 2**20
_MAX_VALUES = 200_000
_MAX_DEPTH = 32
_CORE = "tag:yaml.org,2002:"
_CORE_SCALARS = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null"))
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The loader built on libyaml is ten times faster, but not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """A single value: the text as written, and its type in YAML (str, int, float, bool or null)."""

    place: Place
    text: str
    kind: str


class Items(msgspec.Struct, frozen=True):
    """A list."""

    place: Place
    nodes: tuple["Node", ...]


class Entry(msgspec.Struct, frozen=True):
    """A key, as written, and its value."""

    key: str
    place: Place
    value: "Node"


class Entries(msgspec.Struct, frozen=True):
    """A mapping without duplicate keys and with merge keys resolved."""

    place: Place
    entries: tuple[Entry, ...]


Node = Scalar | Items | Entries


class _StopError(Exception):
    """The rest of the file can't be read; the problem has been reported."""


def read_yaml(path: Path, shown: Path, problems: Problems) -> Node | None:
    """Read a YAML file of at most 4 MiB; return None if it holds no usable document.

    Args:
        path: the file.
        shown: its name in problems.
        problems: collects the problems of the file.
    """
    whole = Place(path=shown)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.add(whole, "the file does not exist", instead(path))
        return None
    except OSError as error:
        problems.add(whole, f"can't read the file: {error.strerror or error}", remedy(error) or "check the path")
        return None
    if len(data) > MAX_BYTES:
        problems.add(whole, "the file is larger than 4 MiB", "check the path: configuration files are small")
        return None
    if begins_pointer(data):
        problems.add(whole, "the file is a Git LFS pointer", FETCH_LFS)
        return None
    text = _decode(data, shown, problems)
    return None if text is None else parse_yaml(text, shown, problems)


def parse_yaml(text: str, shown: Path, problems: Problems) -> Node | None:
    """Return the one document in `text`, or None; `shown` is the file's name in problems."""
    bad = _CONTROL.search(text)
    if bad:
        place = _place_at(text, bad.start(), shown)
        problems.add(place, f"the character {bad.group()!r} is not allowed in YAML", "remove it")
        return None
    loader = _Loader(text)
    try:
        return _Builder(loader, shown, problems).document()
    except yaml.YAMLError as error:
        note_syntax(error, text, shown, problems)
    except _StopError:
        pass
    finally:
        loader.dispose()
    return None


def to_node(data: Any, place: Place) -> Node:
    """Return plain Python data from the command line or a caller as nodes, all at `place`."""
    match data:
        case None:
            return Scalar(place, "", "null")
        case bool():
            return Scalar(place, str(data).lower(), "bool")
        case int():
            return Scalar(place, str(data), "int")
        case float():
            return Scalar(place, repr(data), "float")
        case Mapping():
            return Entries(place, tuple(Entry(str(key), place, to_node(each, place)) for key, each in data.items()))
        case list() | tuple():
            return Items(place, tuple(to_node(each, place) for each in data))
        case _:
            return Scalar(place, str(data), "str")


def _decode(data: bytes, shown: Path, problems: Problems) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        place = _place_at(before, len(before), shown)
        problems.add(place, f"byte 0x{data[error.start]:02x} is not valid UTF-8", "save the file as UTF-8")
        return None


def _place_at(text: str, offset: int, shown: Path) -> Place:
    line_start = text.rfind("\n", 0, offset) + 1
    return Place(path=shown, line=text.count("\n", 0, offset) + 1, column=offset - line_start + 1)


class _Builder:
    """Turns the events of a loader into nodes; the values behind an alias count every time it is used."""

    def __init__(self, loader: Any, shown: Path, problems: Problems) -> None:
        self.loader = loader
        self.shown = shown
        self.problems = problems
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.values = 0

    def document(self) -> Node | None:
        self.loader.get_event()  # the stream's start
        if isinstance(self.loader.peek_event(), yaml.StreamEndEvent):
            self.problems.add(Place(path=self.shown), "the file is empty", "add at least model_name and model_path")
            return None
        self.loader.get_event()  # the document's start
        node, _ = self.node(0)
        self.loader.get_event()  # the document's end
        following = self.loader.peek_event()
        if isinstance(following, yaml.DocumentStartEvent):
            text = "a second YAML document starts here"
            self.problems.add(self.place(following), text, "list several models under 'models' instead")
        if isinstance(node, Scalar) and node.kind == "null" and not node.text:
            self.problems.add(Place(path=self.shown), "the file is empty", "add at least model_name and model_path")
            return None
        return node

    def place(self, event: Any) -> Place:
        return Place(path=self.shown, line=event.start_mark.line + 1, column=event.start_mark.column + 1)

    def stop(self, event: Any, message: str, hint: str) -> _StopError:
        self.problems.add(self.place(event), message, hint)
        return _StopError()

    def count(self, values: int, event: Any) -> None:
        self.values += values
        if self.values > _MAX_VALUES:
            text = f"the file expands to more than {_MAX_VALUES:,} values"
            raise self.stop(event, text, "remove values, or aliases that refer to other aliases")

    def node(self, depth: int) -> tuple[Node, int]:
        """Read the next node and return it with its number of values."""
        event = self.loader.get_event()
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        self.count(1, event)
        if depth > _MAX_DEPTH:
            raise self.stop(event, f"nested more than {_MAX_DEPTH} levels deep", "no option needs that many")
        if event.tag is not None:
            self.check_tag(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        built: tuple[Node, int]
        if isinstance(event, yaml.ScalarEvent):
            built = self.scalar(event), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            built = self.sequence(event, depth)
        else:
            built = self.mapping(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = built
        return built

    def alias(self, event: Any) -> tuple[Node, int]:
        if event.anchor not in self.anchors:
            name = event.anchor
            raise self.stop(event, f"alias '*{name}' is not defined", f"define it above this line with '&{name}'")
        built = self.anchors[event.anchor]
        if built is None:
            raise self.stop(event, f"anchor '&{event.anchor}' contains itself", "write the values out instead")
        self.count(built[1], event)
        return built

    def check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag == "!" or (tag.startswith(_CORE) and tag[len(_CORE) :] in ("seq", "map")):
            return
        if isinstance(event, yaml.ScalarEvent) and tag in _CORE_SCALARS:
            return
        short = tag.replace(_CORE, "!!", 1)
        self.problems.add(self.place(event), f"tag {quote(short)} is not allowed", "write a plain value")

    def scalar(self, event: Any) -> Scalar:
        tag = event.tag
        if tag is None:
            tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.removeprefix(_CORE) if tag in _CORE_SCALARS else "str"
        return Scalar(self.place(event), event.value, kind)

    def sequence(self, event: Any, depth: int) -> tuple[Items, int]:
        nodes = []
        size = 1
        while not isinstance(self.loader.peek_event(), yaml.SequenceEndEvent):
            node, values = self.node(depth + 1)
            nodes.append(node)
            size += values
        self.loader.get_event()
        return Items(self.place(event), tuple(nodes)), size

    def mapping(self, event: Any, depth: int) -> tuple[Entries, int]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        size = 1
        while not isinstance(self.loader.peek_event(), yaml.MappingEndEvent):
            plain = not getattr(self.loader.peek_event(), "style", None)
            key, key_values = self.node(depth + 1)
            value, values = self.node(depth + 1)
            size += key_values + values
            if not isinstance(key, Scalar):
                self.problems.add(key.place, "expected a string as the key, got a list or mapping", "write a plain key")
            elif key.text == "<<" and plain:
                for entry in self.merge(value):
                    merged.setdefault(entry.key, entry)
            elif key.text in own:
                first = own[key.text].place
                text = f"duplicate key {quote(key.text)}, first set at line {first.line}, column {first.column}"
                self.problems.add(key.place, text, "remove one of them")
            else:
                own[key.text] = Entry(key.text, key.place, value)
        self.loader.get_event()
        inherited = [entry for name, entry in merged.items() if name not in own]
        return Entries(self.place(event), (*own.values(), *inherited)), size

    def merge(self, node: Node) -> Iterator[Entry]:
        for each in node.nodes if isinstance(node, Items) else (node,):
            if isinstance(each, Entries):
                yield from each.entries
            else:
                self.problems.add(each.place, "'<<' can only merge mappings", "refer to a mapping that has an anchor")
