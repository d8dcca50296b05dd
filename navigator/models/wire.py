"""Reads protobuf's wire format a field at a time, without a schema, and without what nobody asks for.

See https://protobuf.dev/programming-guides/encoding. Weights are skipped unread, so that a file of gigabytes costs what
its structure does.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 2**18
# Graphs have some twenty fields a node, and few have 100,000 nodes. This takes a few seconds.
_MOST_FIELDS = 5_000_000
_VARINT, _MESSAGE = 0, 2
_FIXED = {1: 8, 5: 4}


class DamagedError(ValueError):
    """The bytes aren't fields, or end too early."""


class UnreadableError(ValueError):
    """The structure is larger than any that is read here, or of a kind that isn't known here."""


class Cursor:
    """Reads a file forwards, a block at a time, and knows where it is.

    Args:
        file: opened for reading, at its start.
        size: of the file, in bytes. To get memory for a whole block takes longer than to read a small file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._block_bytes = min(_BLOCK_BYTES, size)
        self._block = b""
        self._used = 0
        self.at = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most a block; fewer at the end."""
        self._hold(count)
        found = self._block[self._used : self._used + count]
        self._used += len(found)
        self.at += len(found)
        return found

    def skip(self, count: int) -> None:
        beyond = self._used + count - len(self._block)
        if beyond > 0:
            self._file.seek(beyond, os.SEEK_CUR)
            self._block, self._used = b"", 0
        else:
            self._used += count
        self.at += count

    def lacks(self, text: bytes, count: int) -> bool:
        """Return whether the next bytes lack `text`; False, too, if they're more than a block."""
        if count > _BLOCK_BYTES:
            return False
        self._hold(count)
        return self._block.find(text, self._used, self._used + count) < 0

    def varint(self) -> int:
        """Return a number of at most 64 bits, -1 where there's none."""
        # Most numbers have one byte.
        if self._used < len(self._block) and (byte := self._block[self._used]) < 0x80:
            self._used += 1
            self.at += 1
            return byte
        value = 0
        for shift in range(0, 70, 7):
            if self._used == len(self._block):
                self._hold(1)
                if self._used == len(self._block):
                    return -1
            byte = self._block[self._used]
            self._used += 1
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        return -1

    def _hold(self, count: int) -> None:
        """Read on unless the next bytes are held already."""
        if len(self._block) - self._used < count:
            self._block = self._block[self._used :] + self._file.read(self._block_bytes)
            self._used = 0


class Fields:
    """Walks through the fields of a message and of the messages in it, in their order in the file.

    Args:
        file: opened for reading, at the start of the message.
        size: of the message, in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._cursor = Cursor(file, size)
        self._size = size
        self._left = _MOST_FIELDS

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (number, value) of each field of the outermost message."""
        return self.inside(self._size)

    def inside(self, length: int) -> Iterator[tuple[int, int]]:
        """Yield (number, value) of each field in the next `length` bytes.

        The value of a message, text or packed list is its length: whoever wants it reads it with `inside` or `text`
        before the next field; what nobody reads is skipped. A number of 4 or 8 bytes is 0.

        Raises:
            DamagedError: these aren't fields.
            UnreadableError: there are too many.
        """
        cursor = self._cursor
        end = cursor.at + length
        while cursor.at < end:
            self._left -= 1
            tag = cursor.varint()
            kind, value = tag & 7, 0
            if kind in (_VARINT, _MESSAGE):
                value = cursor.varint()
            after = cursor.at + (value if kind == _MESSAGE else _FIXED.get(kind, 0))
            if self._left < 0:
                raise UnreadableError(f"it has more than {_MOST_FIELDS:,} fields")
            if tag < 8 or value < 0 or kind not in (0, 1, 2, 5) or after > end:
                raise DamagedError
            yield tag >> 3, value
            if cursor.at > after:
                raise DamagedError
            if cursor.at < after:
                cursor.skip(after - cursor.at)

    def text(self, length: int, most: int = 4096) -> str:
        """Return the next `length` bytes as text, at most `most` of them."""
        return self._cursor.read(min(length, most)).decode(errors="replace")
