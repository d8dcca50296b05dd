"""Reads zip archives of models: what is in them, and single files of it.

Models come by the thousand and have hundreds of files each: zipfile's list of them takes eight times as long, and its
reading of a short file four times. To find a few names takes a quarter of the time of any list. See PKWARE's
APPNOTE.TXT (6.3.10).
"""

import os
import struct
import zlib
from collections.abc import KeysView
from functools import cached_property
from typing import BinaryIO

from navigator.models.wire import DamagedError, UnreadableError

# What nobody needs is skipped: disks, versions, times and attributes.
_END = struct.Struct("<4x6xHLL2x")  # number of entries, length and offset of the directory
_END_64 = struct.Struct("<4x28xQQQ")  # the same
_LOCATOR_64_BYTES = 20
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")
_LENGTHS = struct.Struct("<4s24xHHH12x")  # of an entry's name, extra fields and comment
_BEGIN = b"PK\1\2"  # of an entry
_FILE = struct.Struct("<4s22xHH")  # of a file's name and extra fields, which aren't those of its entry
_FIELD = struct.Struct("<HH")  # kind and length of an extra field

_BEFORE_COMMENT = _END_64.size + _LOCATOR_64_BYTES + _END.size
_LONGEST_COMMENT = 2**16 - 1
_ENCRYPTED = 1
_STORED, _DEFLATED = 0, 8
_WIDE, _ELSEWHERE = 1, 2**32 - 1
# What can't be compressed gets longer: by five bytes in 64 KiB.
_GROWTH = 2**16


class Archive:
    """An archive that is open for reading.

    Raises:
        DamagedError: it has no directory, or not all of it.
        OSError: it can't be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory, self._start, self._end = _directory(file)

    @property
    def root(self) -> str:
        """The folder of the first file: PyTorch's writer puts all others in it, and its reader looks for them there."""
        if not self._directory:
            return ""
        _, length, *_ = _LENGTHS.unpack_from(self._directory)
        return self._directory[_ENTRY.size : _ENTRY.size + length].partition(b"/")[0].decode("latin-1")

    @property
    def names(self) -> KeysView[str]:
        """The names of all files.

        Raises:
            DamagedError: the directory is broken.
        """
        return self._entries.keys()

    @cached_property
    def _entries(self) -> dict[str, int]:
        return _entries(self._directory)

    def holds(self, name: str) -> bool:
        """Return whether there's a file of this name, or any in a folder if it ends with a slash."""
        text, at = name.encode("latin-1"), _ENTRY.size
        while (at := self._directory.find(text, at)) >= 0:
            begin, length, *_ = _LENGTHS.unpack_from(self._directory, at - _ENTRY.size)
            if begin == _BEGIN and (length >= len(text) if name.endswith("/") else length == len(text)):
                return True
            at += 1
        return False

    def read(self, name: str, most: int) -> bytes:
        """Return the content of a file; if that is more than `most` bytes, one more than these.

        Raises:
            DamagedError: it's broken or truncated.
            UnreadableError: it's encrypted, or compressed in another way than models are.
            OSError: it can't be read.
        """
        at = self._entries[name]
        _, flags, method, checksum, packed, size, *lengths, offset = _ENTRY.unpack_from(self._directory, at)
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise UnreadableError(f"{name} is encrypted, or compressed by method {method}")
        if _ELSEWHERE in (packed, offset):
            extra = self._directory[at + _ENTRY.size + lengths[0] :][: lengths[1]]
            _, packed, offset = _with_64_bits((size, packed, offset), extra)
        if offset > self._end - _FILE.size:
            raise DamagedError(f"{name} is missing")
        self._file.seek(self._start + offset)
        signature, *lengths = _FILE.unpack(self._file.read(_FILE.size))
        self._file.seek(sum(lengths), os.SEEK_CUR)
        content = self._file.read(min(packed, most + _GROWTH))
        content = _inflated(content, most + 1) if method == _DEFLATED else content[: most + 1]
        if signature != b"PK\3\4" or (len(content) <= most and zlib.crc32(content) != checksum):
            raise DamagedError(f"{name} is broken")
        return content


def _directory(file: BinaryIO) -> tuple[bytes, int, int]:
    """Return the directory of an archive, where in the file the archive starts, and where in that the directory is."""
    before = max(0, file.seek(0, os.SEEK_END) - _BEFORE_COMMENT - _LONGEST_COMMENT)
    file.seek(before)
    tail = file.read()
    end = tail.rfind(b"PK\5\6", 0, 4 - _END.size)
    if end < 0:
        raise DamagedError("its end is missing")
    count, length, offset = _END.unpack_from(tail, end)
    end_64, locator = end - _LOCATOR_64_BYTES - _END_64.size, end - _LOCATOR_64_BYTES
    if end_64 >= 0 and tail.startswith(b"PK\6\6", end_64) and tail.startswith(b"PK\6\7", locator):
        end = end_64
        count, length, offset = _END_64.unpack_from(tail, end)
    start = before + end - length
    if start < offset:
        raise DamagedError("a part of it is missing")
    file.seek(start)
    directory = file.read(length)
    # Names and comments may have more.
    is_begun = len(directory) >= _ENTRY.size and directory.startswith(_BEGIN)
    if directory.count(_BEGIN) < count or (directory and not is_begun):
        raise DamagedError("its directory is broken")
    return directory, start - offset, offset


def _entries(directory: bytes) -> dict[str, int]:
    """Return where in the directory the entries are, by the names of their files."""
    found: dict[str, int] = {}
    # What is looked for has names in ASCII, whatever the others have.
    text, at = directory.decode("latin-1"), 0
    size, header, lengths = len(text), _ENTRY.size, _LENGTHS.unpack_from
    try:
        while at < size:
            signature, name, extra, comment = lengths(directory, at)
            if signature != _BEGIN:
                raise DamagedError("its directory is broken")
            start = at + header
            after = start + name
            found[text[start:after]] = at
            at = after + extra + comment
    except struct.error as error:
        raise DamagedError("its directory is truncated") from error
    if at > size:
        raise DamagedError("its directory is truncated")
    return found


def _with_64_bits(numbers: tuple[int, ...], extra: bytes) -> list[int]:
    """Return numbers, those of 64 bits from the extra fields of their entry."""
    wide: tuple[int, ...] = ()
    while len(extra) >= _FIELD.size:
        kind, length = _FIELD.unpack_from(extra)
        content, extra = extra[_FIELD.size :][:length], extra[_FIELD.size + length :]
        if kind == _WIDE:
            wide = struct.unpack_from(f"<{len(content) // 8}Q", content)
    left = iter(wide)
    return [next(left, number) if number == _ELSEWHERE else number for number in numbers]


def _inflated(content: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, most)
    except zlib.error as error:
        raise DamagedError(str(error)) from error
