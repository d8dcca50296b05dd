"""Finds the weights that an ONNX file keeps in other files (external data), without onnx and without reading weights.

Follows the messages of onnx.proto that lead to a TensorProto, and skips everything else. Reads with plain reads, not
through a mapping: an error of the disk is an OSError then, not a signal that ends the process.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from navigator.errors import ConfigurationError
from navigator.models.onnx_messages import INSIDE, Message
from navigator.models.reading import open_regular
from navigator.models.wire import Cursor

_ZIP = b"PK\x03\x04"
_TEXT_MAX = 4096
# The key of the entry that names a file: what is without it is skipped unread, as most nodes are.
_LOCATION = b"location"
# Tensors in other files have a dozen fields each, and most others are skipped at once.
_MOST_FIELDS = 5_000_000
# Of a model itself: more than any version of ONNX has.
_LAST_FIELD = 63

_DIMS, _DATA_TYPE, _NAME, _DATA_LOCATION = 1, 2, 8, 14
_EXTERNAL = 1
# Bits of a value by TensorProto.DataType; strings can't be external.
_BITS = {
    **dict.fromkeys((25, 26), 2),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class External:
    """The values of one tensor in another file: bytes `offset` to `end` of `location`, relative to the model.

    `is_used` is False where the tensor keeps its values in the model all the same.
    """

    tensor: str
    location: str
    offset: int
    end: int
    is_used: bool


def externals(path: Path) -> Iterator[External]:
    """Yield the tensors of an ONNX file, whatever its suffix, that name another file; of other files none.

    What comes after damage isn't seen: nobody else reads it either.

    Raises:
        ConfigurationError: no model is like that.
        OSError: it can't be read.
    """
    with BufferedReader(open_regular(path)) as file:
        start = file.read(len(_ZIP))
        if not start or start == _ZIP:
            return
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        cursor = Cursor(file, size)
        if not cursor.lacks(_LOCATION, size):
            yield from _walk(cursor, path, size)


def _walk(cursor: Cursor, path: Path, size: int) -> Iterator[External]:
    """Yield what a file of `size` bytes holds: one pass, with the messages that are open at the time on a stack."""
    opened = [(size, Message.MODEL)]
    tensor = _Tensor()
    for _ in range(_MOST_FIELDS):
        while opened and cursor.at >= opened[-1][0]:
            _, message = opened.pop()
            if message is Message.TENSOR:
                yield from tensor.found()
        if not opened:
            return
        end, message = opened[-1]
        field, value = cursor.varint(), 0
        kind = field & 7
        length = {1: 8, 5: 4}.get(kind, 0)
        if kind in (0, 2):
            value = cursor.varint()
            length = value if kind == 2 else 0
        last = _LAST_FIELD if message is Message.MODEL else field >> 3
        if not 1 <= field >> 3 <= last or value < 0 or kind not in (0, 1, 2, 5) or cursor.at + length > end:
            return
        inner = INSIDE.get((message, field >> 3)) if kind == 2 else None
        if inner is not None and inner is not Message.ENTRY and cursor.lacks(_LOCATION, length):
            cursor.skip(length)
            continue
        if inner is None:
            text = cursor.read(min(length, _TEXT_MAX)) if message in (Message.TENSOR, Message.ENTRY) else b""
            cursor.skip(length - len(text))
            tensor.note(message, field >> 3, value, text if kind == 2 else None)
            continue
        if inner is Message.TENSOR:
            tensor = _Tensor()
        elif inner is Message.ENTRY:
            tensor.key, tensor.value = b"", ""
        opened.append((cursor.at + length, inner))
    raise ConfigurationError(f"{path} has more than {_MOST_FIELDS:,} fields", "export the model again")


class _Tensor:
    """What is known of one TensorProto so far; `key` and `value` are those of the last entry of its external data."""

    def __init__(self) -> None:
        self._name = ""
        self._dims: list[int] = []
        self._type = 0
        self._is_external = False
        self._entries: dict[bytes, str] = {}
        self.key = b""
        self.value = ""

    def note(self, message: Message, number: int, value: int, text: bytes | None) -> None:
        """Note a field: a number, or the start of a text."""
        if message is Message.ENTRY and text is not None:
            # Writers may begin with either.
            if number == 1:
                self.key = text
            elif number == 2:
                self.value = os.fsdecode(text)
            self._entries[self.key] = self.value
        elif message is Message.TENSOR and text is not None:
            if number == _NAME:
                self._name = text.decode(errors="replace")
            elif number == _DIMS:
                self._dims += _packed(text)
        elif message is Message.TENSOR:
            if number == _DIMS:
                self._dims.append(value)
            elif number == _DATA_TYPE:
                self._type = value
            elif number == _DATA_LOCATION:
                self._is_external = value == _EXTERNAL

    def found(self) -> Iterator[External]:
        """Yield the tensor if it names a file that a file system can have."""
        location = self._entries.get(b"location", "")
        if not location or "\0" in location:
            return
        offset = _number(self._entries.get(b"offset", ""))
        needed = math.prod(self._dims) * _BITS.get(self._type, 0) // 8
        length = _number(self._entries.get(b"length", "")) or needed
        yield External(
            tensor=self._name, location=location, offset=offset, end=offset + length, is_used=self._is_external
        )


def _packed(content: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _number(text: str) -> int:
    """Return a number as ONNX writes it, 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
