"""Turns every accepted notation of values for named inputs and outputs into their canonical form.

Signatures, states, shapes, ranges, dtypes and tolerances can each be a mapping, a list of `name=value` or
`name:value`, or one string with spaces. A name ends at the last separator, since TensorFlow's names contain colons.
"""

import re
from collections import Counter
from typing import Any

from navigator.config.dtypes import canonical_dtype, dtype_problem
from navigator.config.problems import Place, about
from navigator.config.values import NUMBER, Reading, is_null, kind, pieces, read_integer, read_number, read_text, shown
from navigator.config.yaml_nodes import Entries, Entry, Items, Node, Scalar
from navigator.errors import quote
from navigator.records import DEFAULT_TOLERANCE

_NAMED = re.compile(r"(?P<name>.+)[:=](?P<value>[^:=]*)", re.DOTALL)
_TENSOR = re.compile(r"(?P<name>.+)[:=](?P<shape>[^:=]*):(?P<dtype>[^:]+)", re.DOTALL)
_SHAPE_AND_DTYPE = re.compile(r"(?P<shape>[^:=]*):(?P<dtype>[^:=]+)", re.DOTALL)
_TENSOR_KEYS = ("name", "shape", "dtype")
_QUOTE_IT = 'inside [...], quote values that contain commas, e.g. ["x:-1,3:float32"]'


def read_tolerances(reading: Reading, node: Node) -> dict[str, float] | None:
    """Return {output or "": tolerance}; outputs that aren't listed have the usual one where the default is `auto`."""
    found: dict[str, float] = {}
    good = True
    for name, value in named(reading, node, unnamed=True).items():
        number = read_number(reading, value, name)
        if number is None:
            good = False
        else:
            found[name] = number
    usual = {"": DEFAULT_TOLERANCE} if reading.option.auto else reading.option.default
    return {**usual, **found} if good else None


def read_shapes(reading: Reading, node: Node) -> dict[str, list[int]] | None:
    """Return {input: shape}; every axis has a size."""
    found = {}
    for name, value in named(reading, node, unnamed=False).items():
        shape = _shape(reading, value, name, dynamic=False)
        if shape is not None:
            found[name] = shape
    return found


def read_ranges(reading: Reading, node: Node) -> dict[str, list[float]] | None:
    """Return {input or "": [low, high]}."""
    if isinstance(node, Items) and node.nodes and all(_is_number(each) for each in node.nodes):
        node = Entries(node.place, (Entry("", node.place, node),))
    found = {}
    for name, value in named(reading, node, unnamed=True).items():
        ends = _split(value)
        start = about(name)
        if len(ends) != 2:
            reading.wrong(value.place, f"{start}expected a lowest and a highest value, got {_count(len(ends))}")
            continue
        numbers = [read_number(reading, each, name) for each in ends]
        if None not in numbers:
            found[name] = [number for number in numbers if number is not None]
    return found


def read_dtypes(reading: Reading, node: Node) -> dict[str, str] | None:
    """Return {input or "": NumPy dtype name}."""
    found = {}
    for name, value in named(reading, node, unnamed=True).items():
        dtype = _dtype(reading, value, name)
        if dtype is not None:
            found[name] = dtype
    return found


def read_names(reading: Reading, node: Node) -> dict[str, str] | None:
    """Return {output: input}."""
    found = {}
    for name, value in named(reading, node, unnamed=False).items():
        text = read_text(reading, value)
        if text is not None:
            found[name] = text
    return found


def read_arguments(reading: Reading, node: Node) -> dict[str, str] | None:
    """Return {argument: value}; numbers and booleans are text too, since only the model knows what they are."""
    found = {}
    for name, value in named(reading, node, unnamed=False).items():
        if isinstance(value, Scalar):
            found[name] = value.text
        else:
            reading.wrong(value.place, f"{about(name)}expected a number, true, false or text, got {kind(value)}")
    return found


def read_counts(reading: Reading, node: Node) -> dict[str, int] | None:
    """Return {cpu or gpu: count}."""
    found = {}
    for name, value in named(reading, node, unnamed=False).items():
        if name not in ("cpu", "gpu"):
            reading.wrong(reading.places[name,], f"expected cpu or gpu, got {quote(name)}")
            continue
        count = read_integer(reading, value, name)
        if count is not None:
            found[name] = count
    return found


def read_tensors(reading: Reading, node: Node) -> list[dict[str, Any]] | None:
    """Return [{name, shape, dtype}] in the order written, None if any of them is invalid.

    In a mapping the key is the name. An inner `name` that differs replaces it, unless another tensor has that
    name: then the key is the name.
    """
    written: list[tuple[Place, str, dict[str, Any]]] = []
    nodes = _tensor_nodes(reading, node)
    for key, each in nodes:
        tensor = _tensor(reading, key, each)
        if tensor is not None:
            reading.places[len(written),] = each.place
            written.append((each.place, key, tensor))
    keys = {key for _, key, _ in written if key}
    inner = Counter(tensor["name"] for _, _, tensor in written)
    names: set[str] = set()
    for place, key, tensor in written:
        name = tensor["name"]
        if key and name != key and (name in keys or inner[name] > 1):
            tensor["name"] = name = key
        if name in names:
            reading.wrong(place, f"{quote(name)} names two tensors", "give each tensor its own name")
            return None
        names.add(name)
    # With half a signature, every mention of the other half would be reported too.
    return [tensor for _, _, tensor in written] if len(written) == len(nodes) else None


def _tensor_nodes(reading: Reading, node: Node) -> list[tuple[str, Node]]:
    if isinstance(node, Entries):
        return [(entry.key, entry.value) for entry in node.entries]
    found: list[tuple[str, Node]] = []
    for each in node.nodes if isinstance(node, Items) else (node,):
        if is_null(each):
            reading.wrong(each.place, "an item of the list is empty")
        elif isinstance(each, Scalar):
            found.extend(("", piece) for piece in pieces(each))
        else:
            found.append(("", each))
    return found


def _tensor(reading: Reading, key: str, node: Node) -> dict[str, Any] | None:
    """Read one tensor; `key` is "" unless the notation is a mapping."""
    if isinstance(node, Entries) or is_null(node):
        return _tensor_of_entries(reading, key, node if isinstance(node, Entries) else Entries(node.place, ()))
    text = node.text if isinstance(node, Scalar) else ""
    match = (_SHAPE_AND_DTYPE if key else _TENSOR).fullmatch(text)
    if match is None:
        form = "shape:dtype" if key else "name:shape:dtype"
        start = about(key or "")
        hint = "" if key or not node.place.path else _QUOTE_IT
        reading.wrong(node.place, f"{start}expected {form}, got {shown(node)}", hint)
        return None
    name = key or match["name"]
    shape = _shape(reading, Scalar(node.place, match["shape"], "str"), name, dynamic=True)
    dtype = _dtype(reading, Scalar(node.place, match["dtype"], "str"), name)
    return None if shape is None or dtype is None else {"name": name, "shape": shape, "dtype": dtype}


def _tensor_of_entries(reading: Reading, key: str, node: Entries) -> dict[str, Any] | None:
    parts = {entry.key: entry for entry in node.entries}
    name = key
    if "name" in parts and not is_null(parts["name"].value):
        value = parts["name"].value
        if not isinstance(value, Scalar) or not value.text:
            reading.wrong(value.place, f"name: expected a string, got {shown(value)}", "write the tensor's name")
            return None
        name = value.text
    for entry in node.entries:
        if entry.key not in _TENSOR_KEYS:
            text = f"{about(key or name)}unknown key {quote(entry.key)}"
            reading.wrong(entry.place, text, "a tensor's keys are name, shape and dtype")
    absent = [part for part in _TENSOR_KEYS if part not in parts and (part != "name" or not name)]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        reading.wrong(node.place, f"{about(name)}{' and '.join(absent)} {verb} required")
        return None
    shape = _shape(reading, parts["shape"].value, key or name, dynamic=True)
    dtype = _dtype(reading, parts["dtype"].value, key or name)
    return None if shape is None or dtype is None else {"name": name, "shape": shape, "dtype": dtype}


def named(reading: Reading, node: Node, *, unnamed: bool) -> dict[str, Node]:
    """Return the value of each name; "" for one without a name, which is a problem unless `unnamed`."""
    found: dict[str, Node] = {}
    for entry in _entries(node):
        if not entry.key and not unnamed:
            reading.wrong(entry.place, f"expected NAME=VALUE, got {shown(entry.value)}")
            return found
        if entry.key in found and not entry.key:
            reading.wrong(entry.place, "only one value may have no name")
            return found
        if entry.key in found:
            reading.wrong(entry.place, f"{quote(entry.key)} is set twice", "remove one of them")
        elif is_null(entry.value):
            which = quote(entry.key) if entry.key else "an entry"
            reading.wrong(entry.place, f"{which} has no value")
        else:
            found[entry.key] = entry.value
            reading.places[entry.key,] = entry.place
    return found


def _entries(node: Node) -> list[Entry]:
    match node:
        case Entries():
            return list(node.entries)
        case Items():
            return [entry for each in node.nodes for entry in _item_entries(each)]
        case _ if is_null(node):
            return [Entry("", node.place, node)]
    found = []
    for piece in pieces(node):
        match = _NAMED.fullmatch(piece.text)
        # A leading separator is the byte order of a dtype ('=f4'), not the end of a name.
        name, value = (match["name"], match["value"]) if match else ("", piece.text)
        found.append(Entry(name, piece.place, Scalar(piece.place, value, "str")))
    return found or [Entry("", node.place, Scalar(node.place, "", "str"))]


def _item_entries(node: Node) -> list[Entry]:
    return [Entry("", node.place, node)] if isinstance(node, Items) else _entries(node)


def _split(node: Node) -> list[Node]:
    if isinstance(node, Items):
        return list(node.nodes)
    if isinstance(node, Scalar):
        text = node.text.strip()
        text = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
        return [Scalar(node.place, part, "str") for part in text.split(",")] if text.strip() else []
    return [node]


def _shape(reading: Reading, node: Node, name: str, *, dynamic: bool) -> list[int] | None:
    sizes = []
    for each in _split(node):
        text = each.text.strip() if isinstance(each, Scalar) else kind(each)
        try:
            size = int(text)
        except ValueError:
            axis = "write -1 for a dynamic axis" if dynamic else ""
            reading.wrong(each.place, f"{about(name)}expected an axis size, got {quote(text)}", axis)
            return None
        if size == -1 and dynamic:
            sizes.append(size)
        elif size < 1 or size >= 2**63:
            least = "at least 1, or -1 for a dynamic axis" if dynamic else "at least 1"
            reading.wrong(each.place, f"{about(name)}axis size {size} is out of range", f"use {least}")
            return None
        else:
            sizes.append(size)
    return sizes


def _dtype(reading: Reading, node: Node, name: str) -> str | None:
    text = node.text.strip() if isinstance(node, Scalar) else ""
    dtype = canonical_dtype(text)
    if dtype is None:
        start = about(name)
        message, hint = dtype_problem(text) if isinstance(node, Scalar) else (f"expected a dtype, got {kind(node)}", "")
        reading.wrong(node.place, start + message, hint)
    return dtype


def _count(values: int) -> str:
    return f"{values} value" if values == 1 else f"{values} values"


def _is_number(node: Node) -> bool:
    return isinstance(node, Scalar) and NUMBER.fullmatch(node.text.strip()) is not None
