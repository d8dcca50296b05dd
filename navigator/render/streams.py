"""Standard output and standard error as they may really be: closed, a pipe that nobody reads, another encoding.

Writes text and judges nothing; imports nothing that costs time, since every command needs it.
"""

import os
import sys
from typing import TextIO


def open_missing() -> None:
    """Give a program that was started without standard streams (`>&-`) streams that go nowhere.

    Otherwise the next file that it opens becomes its standard output, and what its workers print goes there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the program ends
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the program ends


def write(text: str, stream: TextIO) -> None:
    """Write text at once, what the stream's encoding does not have as '?'.

    A reader that went away (`| head`) is no reason to stop: results, summary and the exit code are not for it.

    Raises:
        OSError: the stream cannot be written, such as a file on a full disk.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        # What is still buffered would fail again when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError as error:
        error.filename = error.filename or stream.name
        raise
