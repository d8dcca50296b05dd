"""Files of a directory, and files as a stream of zip: regular files only, and nothing outside of the directory.

Owns which files of a directory that untrusted code wrote are taken. Knows nothing of where the stream goes.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from navigator.github.rest import PublishError
from navigator.safe_files import UnsafeFileError, open_directory, open_file

FORBIDDEN = '":<>|*?\r\n'
"""What a path inside an artifact must not hold: Windows could not unpack it, and the service refuses it."""

_MAX_FILES = 100_000
_MAX_DEPTH = 64
_CHUNK_BYTES = 2**20
# From here on an entry has 64-bit sizes. zipfile wants them from 2 GiB on, and what does not pack grows.
_ZIP64_BYTES = 2**30


def files_below(directory: Path, left_out: Callable[[str], None] = lambda _: None) -> list[tuple[str, Path]]:
    """Return the regular files below a directory, as names relative to it (with forward slashes) and absolute paths.

    Sorted by name. No symbolic link is followed, above the directory neither: resolve the part of its path that is to
    be trusted.

    Args:
        directory: where to look.
        left_out: called with a sentence about each entry that is left out: links, pipes, names that no artifact can
            hold.

    Raises:
        PublishError: the directory doesn't exist, is a link or behind one, or holds too much.
    """
    found: list[tuple[str, Path]] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        for name, mode in _entries(directory.joinpath(*parts)):
            inner = (*parts, name)
            if reason := _unfit(inner, mode):
                left_out(f"{'/'.join(inner)!r} is left out: {reason}")
            elif stat.S_ISDIR(mode):
                pending.append(inner)
            else:
                found.append(("/".join(inner), directory.absolute().joinpath(*inner)))
        if len(found) > _MAX_FILES:
            raise PublishError(f"{directory} contains more than {_MAX_FILES:,} files", "publish a directory below it")
    return sorted(found)


def zipped(files: Sequence[tuple[str, Path]], *, compression_level: int) -> Iterator[bytes]:
    """Yield a zip file of `files` in pieces of about a megabyte: the same bytes for the same files.

    In the order given, dated 1980-01-01. Sizes follow the content (data descriptors), in 64 bits where needed. Level 0
    is deflate's own: a reader of a stream cannot find the end of an entry that is stored.

    Args:
        files: path inside the zip, and file on disk; names are unique.
        compression_level: of zlib, 0 to 9.

    Raises:
        PublishError: a file doesn't exist, isn't a regular file, or is behind a link.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=compression_level) as archive:  # type: ignore[call-overload]
        for name, path in files:
            with opened(path) as source:
                large = os.fstat(source.fileno()).st_size >= _ZIP64_BYTES
                with archive.open(name, "w", force_zip64=large) as entry:
                    while chunk := source.read(_CHUNK_BYTES):
                        entry.write(chunk)
                        yield sink.drain()
            yield sink.drain()
    yield sink.drain()


def plain(path: Path) -> Iterator[bytes]:
    """Yield a file as it is, in pieces of about a megabyte.

    Raises:
        PublishError: as `zipped`.
    """
    with opened(path) as source:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a regular file for reading and follow no link on the way to it.

    Raises:
        PublishError: it doesn't exist, isn't a regular file, or is behind a link.
    """
    with _readable(path):
        file = open_file(path)
    with file:
        yield file


class _Sink:
    """Where the zip is written to: keeps what came since it was last asked. It cannot seek, so that zipfile streams."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(data)
        return len(data)

    def flush(self) -> None:
        pass

    def drain(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _entries(directory: Path) -> list[tuple[str, int]]:
    """Return the names and modes of what is in a directory. PublishError, as `opened`."""
    with _readable(directory):
        descriptor = open_directory(directory)
        try:
            with os.scandir(descriptor) as entries:
                return [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
        finally:
            os.close(descriptor)


def _unfit(parts: tuple[str, ...], mode: int) -> str:
    """Return why an entry is no part of an artifact, or ""."""
    if stat.S_ISLNK(mode):
        return "it's a symbolic link"
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return "it's neither a file nor a directory"
    if len(parts) > _MAX_DEPTH:
        return f"it's more than {_MAX_DEPTH} directories deep"
    if any(character in FORBIDDEN or character == "\\" or "\udc80" <= character <= "\udcff" for character in parts[-1]):
        return f"its name contains one of {' '.join(FORBIDDEN[:-2])} \\ or a line break, or isn't UTF-8"
    return ""


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what keeps a path from being opened into a PublishError with the reason."""
    try:
        yield
    except UnsafeFileError as error:
        hint = "use the path that the link points to" if "link" in str(error.strerror) else ""
        raise PublishError(f"{path} isn't published: it's {error.strerror}", hint) from error
    except OSError as error:
        raise PublishError(f"can't read {path}: {error.strerror}") from error
