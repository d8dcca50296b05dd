"""Reads an ONNX file without its weights, so that gigabytes cost what their structure does.

Large values are replaced by what ONNX calls external data: their place, in the file itself. So what is read is a model
of its own, as long as it lies beside the file.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from navigator.models.onnx_messages import INSIDE, Message
from navigator.models.reading import open_regular
from navigator.models.wire import Cursor, DamagedError

# What is shorter is kept: axes, shapes and small tables are read by those who look into a graph.
LARGE_BYTES = 65536

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_EXTERNAL = 1
# protobuf's own limit.
_DEEPEST = 100


def structure(path: Path) -> bytes | None:
    """Return the content of an ONNX file without its large weights; None if it's not made of protobuf's fields.

    Raises:
        OSError: it can't be read.
    """
    with BufferedReader(open_regular(path)) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return b"".join(_without_weights(Cursor(file, size), size, Message.MODEL, path.name, 0))
        except DamagedError:
            return None


def _without_weights(cursor: Cursor, length: int, message: Message, name: str, depth: int) -> Iterator[bytes]:
    """Yield the fields of a message of `length` bytes, in their order, and last the place of large values.

    What is last counts: a tensor that was external once may say that it isn't.
    """
    place = b""
    end = cursor.at + length
    while cursor.at < end:
        tag = cursor.varint()
        number, kind = tag >> 3, tag & 7
        value = cursor.varint() if kind in (_VARINT, _LENGTH) else {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        after = cursor.at + (value if kind != _VARINT else 0)
        if number < 1 or value < 0 or after > end or depth > _DEEPEST:
            raise DamagedError
        inner = INSIDE.get((message, number))
        if kind == _VARINT:
            yield varint(tag) + varint(value)
        elif kind != _LENGTH:
            yield varint(tag) + cursor.read(value)
        elif value > LARGE_BYTES and (message, number) == (Message.TENSOR, _RAW_DATA):
            place = _place(name, cursor.at, value)
            cursor.skip(value)
        elif value > LARGE_BYTES and inner is not None:
            content = b"".join(_without_weights(cursor, value, inner, name, depth + 1))
            yield varint(tag) + varint(len(content)) + content
        else:
            yield varint(tag) + varint(value)
            yield from _pieces(cursor, value)
    yield place


def _place(name: str, offset: int, length: int) -> bytes:
    """Return the fields of a tensor whose values are in a file."""
    entries = (("location", name), ("offset", str(offset)), ("length", str(length)))
    found = (_text(1, key) + _text(2, value) for key, value in entries)
    external = b"".join(varint(_EXTERNAL_DATA << 3 | _LENGTH) + varint(len(each)) + each for each in found)
    return external + varint(_DATA_LOCATION << 3) + varint(_EXTERNAL)


def _text(number: int, text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return varint(number << 3 | _LENGTH) + varint(len(content)) + content


def _pieces(cursor: Cursor, length: int) -> Iterator[bytes]:
    while length:
        piece = cursor.read(length)
        if not piece:
            raise DamagedError
        length -= len(piece)
        yield piece


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
