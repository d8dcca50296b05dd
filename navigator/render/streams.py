"""Writes to standard output and standard error even if they are closed, full, without a reader, or not UTF-8.

Imports nothing that is slow to import, since every command needs it.
"""

import errno
import os
import stat
import sys
from typing import Any, TextIO

from navigator.render.text import harmless

_lost: list[OSError] = []


def open_missing() -> None:
    """Open standard streams that are closed (`>&-`), so that they discard all output.

    Otherwise, the next file that the program opens becomes its standard output, with everything that workers print.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Uses the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the program ends
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the program ends


def write(text: str, stream: TextIO) -> None:
    """Write and flush text that may hold names and messages of others, made harmless. See `write_raw`."""
    write_raw(harmless(text), stream)


def write_raw(text: str, stream: TextIO) -> None:
    """Write and flush text, with characters that the encoding doesn't have as '?'.

    Never raises for the stream: no run ends, and no result is lost, because nobody can read what it prints. After a
    failure the stream discards all output, and `lost` tells the command's end.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        if not _reader_went_away(error, stream):
            error.filename = error.filename or stream.name
            _lost.append(error)
        # Flushing the buffer would fail again when the interpreter exits, which then has exit code 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def lost() -> OSError | None:
    """Return why output is lost since the last call, None if it isn't.

    It's no loss that a reader went away (`| head`, a terminal that was closed).
    """
    first = _lost[0] if _lost else None
    _lost.clear()
    return first


class Steady:
    """A stream for libraries that write to it themselves, with escape sequences: fails as little as `write_raw`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        write_raw(text, self._stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` has done it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _reader_went_away(error: OSError, stream: TextIO) -> bool:
    if isinstance(error, BrokenPipeError):
        return True
    # What a terminal says after it was closed.
    return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
