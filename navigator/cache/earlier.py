"""A directory that may already have what an entry of the cache holds: an earlier run's converted model.

The digests of its large files are taken while the source model is read, since each takes one processor only.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Event

from navigator.cache.remembered import Remembered
from navigator.errors import ConfigurationError
from navigator.models.files import files_of
from navigator.models.reading import open_regular

_LARGE_BYTES = 2**26
_BLOCK_BYTES = 2**20

# Place on the disk, size and time of the last change, which no program can set back.
_Identity = tuple[int, int, int, int]


class Earlier:
    """A directory at `path`, whose files are digested ahead within `digested`, unless their digests are remembered."""

    def __init__(self, path: Path, remembered: Remembered | None = None) -> None:
        self.path = path
        self._remembered = remembered or Remembered()
        self._taken: dict[_Identity, Future[str]] = {}

    def begin(self, threads: ThreadPoolExecutor, stopped: Event, since_ns: int) -> None:
        """Begin to take the digests of large files that changed last after `since_ns`."""
        with suppress(OSError, ConfigurationError):
            for _, path in files_of(self.path):
                status = path.stat()
                if status.st_size >= _LARGE_BYTES and status.st_ctime_ns > since_ns:
                    of = _identity(status)
                    self._taken[of] = threads.submit(self._take, path, of, stopped)

    def _take(self, path: Path, of: _Identity, stopped: Event) -> str:
        found = self._remembered.digest(path, lambda: _sha256(path, of, stopped))
        if _identity(path.stat()) != of:
            raise OSError(errno.EAGAIN, "changed meanwhile", str(path))
        return found

    def sha256(self, file: FileIO) -> str:
        """Return the digest of an open file: the one that was taken ahead, if it's this very file and unchanged.

        Raises:
            OSError: it can't be read.
        """
        taken = self._taken.get(_identity(os.fstat(file.fileno())))
        if taken is not None:
            with suppress(OSError):
                return taken.result()
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def digested(directories: Iterable[Earlier], since_ns: int) -> Iterator[None]:
    """Take digests of large files in threads of their own, within the block; see `Earlier.begin`."""
    stopped = Event()
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as threads:
        for each in directories:
            each.begin(threads, stopped, since_ns)
        try:
            yield
        finally:
            stopped.set()
            threads.shutdown(cancel_futures=True)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _sha256(path: Path, of: _Identity, stopped: Event) -> str:
    """Return the digest of the file that `of` identifies; raise OSError if it's another one or changes meanwhile."""
    found, buffer = hashlib.sha256(), memoryview(bytearray(_BLOCK_BYTES))
    with open_regular(path) as file:
        same = _identity(os.fstat(file.fileno())) == of
        while same and not stopped.is_set() and (count := file.readinto(buffer)):
            found.update(buffer[:count])
        if not same or stopped.is_set() or _identity(os.fstat(file.fileno())) != of:
            raise OSError(errno.EAGAIN, "not read to its end", str(path))
    return found.hexdigest()
