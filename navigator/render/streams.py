"""Writes to standard output and standard error even if they are closed, a pipe without a reader, or not UTF-8.

Imports nothing that is slow to import, since every command needs it.
"""

import os
import sys
from typing import TextIO

from navigator.render.text import harmless


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

    A reader that went away (`| head`) doesn't stop the run: results, summary and exit code don't depend on it.

    Raises:
        OSError: the stream can't be written, such as a file on a full disk.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        # Flushing the buffer would fail again when the interpreter exits, which then has exit code 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            error.filename = error.filename or stream.name
            raise
