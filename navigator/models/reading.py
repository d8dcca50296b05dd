"""Reads and copies files of any size: with progress, against a deadline, until cancelled, and without reading holes."""

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from navigator.errors import ExitCode, NavigatorError

_BLOCK_BYTES = 2**20
# Two fit into a core's cache.
_PIECE_BYTES = 2**17
_ZEROS = memoryview(bytes(_BLOCK_BYTES))
# A few gigabytes from a disk take this long; less isn't worth a word.
_SAY_EVERY_SECONDS = 10.0
# What st_blocks counts, whatever the file system's blocks are.
_SECTOR_BYTES = 512
# ioctl_ficlonerange(2)
_FICLONE = 0x40049409


class DeadlineError(NavigatorError):
    """Reading took longer than it may. It fails what is read, never the run."""

    exit_code = ExitCode.FAILURE


class StoppedError(NavigatorError):
    """The run was cancelled while something was read."""

    exit_code = ExitCode.CANCELLED


class Watch:
    """What is known while files are read: how much of them, for how long, and whether to go on.

    Args:
        timeout_seconds: how long all of it may take, the option of that name; None for no limit.
        is_cancelled: asked after every block.
        on_progress: called with a sentence now and then.
    """

    def __init__(
        self,
        timeout_seconds: float | None = None,
        *,
        is_cancelled: Callable[[], bool] = lambda: False,
        on_progress: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._is_cancelled = is_cancelled
        self._on_progress = on_progress
        self._began = self._said = time.monotonic()

    def check(self, path: Path, done_bytes: int, size_bytes: int) -> None:
        """Note that so much of a file was read.

        Raises:
            DeadlineError: that took too long.
            StoppedError: the run was cancelled.
        """
        if self._is_cancelled():
            raise StoppedError(f"cancelled while {path} was read")
        now = time.monotonic()
        progress = f"{done_bytes / 1e9:.1f} of {size_bytes / 1e9:.1f} GB"
        if self._timeout_seconds is not None and now - self._began > self._timeout_seconds:
            raise DeadlineError(
                f"reading {path} took longer than {self._timeout_seconds:g} s: {progress} were read",
                "increase timeout_seconds, or use a faster disk",
            )
        if now - self._said > _SAY_EVERY_SECONDS:
            self._said = now
            self._on_progress(f"reading {path}: {progress}")


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading, behind links too; never wait for a pipe that has taken its place.

    Raises:
        OSError: it's no regular file, isn't there, or can't be read.
    """
    file = FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def blocks(path: Path, watch: Watch, *, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
    """Yield the bytes of a file from `start` to `end`; holes as zeros that nobody reads. Each block is the next one's.

    Raises:
        OSError: it can't be read.
        DeadlineError, StoppedError: as `Watch.check`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        end = size if end is None else min(end, size)
        at = start
        buffer = memoryview(bytearray(max(0, min(_BLOCK_BYTES, end - at))))
        while at < end:
            hole = min(_next_data(file.fileno(), at), end) - at
            block = _ZEROS[: min(hole, _BLOCK_BYTES)]
            if not hole:
                count = os.preadv(file.fileno(), [buffer[: end - at]], at)
                if not count:
                    raise OSError(errno.EIO, "the file shrank while it was read", str(path))
                block = buffer[:count]
            at += len(block)
            yield block
            watch.check(path, at, size)


def same_bytes(
    one: Path, other: Path, size: int, *, starts: tuple[int, int] = (0, 0), watch: Watch | None = None
) -> bool:
    """Return whether `size` bytes of two files are the same, from `starts` on. Holds a piece of each.

    Raises:
        OSError: they can't be read.
        DeadlineError, StoppedError: as `Watch.check`.
    """
    watch, left = watch or Watch(), size
    pieces = [memoryview(bytearray(min(left, _PIECE_BYTES))) for _ in starts]
    with open_regular(one) as first, open_regular(other) as second:
        first.seek(starts[0])
        second.seek(starts[1])
        while left:
            read = [file.readinto(piece[:left]) for file, piece in zip((first, second), pieces, strict=True)]
            if read != [min(left, _PIECE_BYTES)] * 2 or pieces[0].obj != pieces[1].obj:
                return False
            left -= min(left, _PIECE_BYTES)
            watch.check(one, size - left, size)
    return True


def first_data(path: Path, start: int) -> int:
    """Return where the first byte of a file at or after `start` is that isn't in a hole.

    Raises:
        OSError: it can't be read.
    """
    with open_regular(path) as file:
        return _next_data(file.fileno(), start)


def _next_data(descriptor: int, at: int) -> int:
    """Return where the first byte at or after `at` is that isn't in a hole; a file system may know of none."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        return os.fstat(descriptor).st_size if error.errno == errno.ENXIO else at


def copy_content(source: Path, target: Path) -> None:
    """Copy the bytes of a file; a large one as a reflink where the file system can, or else with its holes.

    Never a hard link: a model may write to its converted model, and must not reach the source through it.

    Raises:
        OSError: it can't be read, or the copy not be written.
    """
    with open_regular(source) as original:
        found = os.fstat(original.fileno())
        is_large = found.st_size >= _BLOCK_BYTES
        if is_large and _reflinked(original, target):
            return
    if not is_large or found.st_blocks * _SECTOR_BYTES >= found.st_size:
        shutil.copyfile(source, target)
        return
    with target.open("wb", buffering=0) as file:
        for block in blocks(source, Watch()):
            if block.obj is _ZEROS.obj:
                file.seek(len(block), os.SEEK_CUR)
                continue
            while block:
                block = block[file.write(block) :]
        file.truncate(found.st_size)


def _reflinked(original: FileIO, target: Path) -> bool:
    """Return whether `target` now shares the blocks of `original` until one of them is written to."""
    with target.open("wb", buffering=0) as file:
        try:
            fcntl.ioctl(file.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
    return True


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy the bytes, the mode and the times of a file; see `copy_content`."""
    copy_content(Path(source), Path(target))
    shutil.copystat(source, target)
