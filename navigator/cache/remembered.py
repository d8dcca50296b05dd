"""Digests of large files, remembered by what the file system says of them: nobody reads unchanged gigabytes again.

A copy of such a file has its digest, too: two files are compared in a third of the time that a digest takes.

As in git's index, a file is the one that it was if its place on the disk, its size and its times are. Of these, no
program can set back the time of the last change. A digest is only an aid: whoever publishes a file reads it.
"""

import ctypes
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache as once
from pathlib import Path
from typing import Protocol

from navigator.models.reading import Watch, open_regular, same_bytes
from navigator.records import Json

_LARGE_BYTES = 2**26
_SHA256 = re.compile(r"[0-9a-f]{64}")

# The kernel's clock for files ticks at least so often. A file that changed in the tick in which it's read may change
# again without another time.
_TICK_SECONDS = 0.1
# Times of a file system that counts no less than this may stay the same for seconds.
_COARSE_NS = 10**6

# statfs(2). Of ext4, XFS, Btrfs, F2FS and ZFS: all else, as a file in memory or on another machine, may change without
# another time.
_KEEP_TIMES = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1})
_STATFS_BYTES = 256

_LIBC = ctypes.CDLL(None, use_errno=True)


class Kept(Protocol):
    """Where digests are kept between runs, see `navigator.cache.layers.Layers`."""

    def get(self, key: str, destination: Path | None) -> Json | None:
        """Return what is kept under an identity, or None."""

    def put(self, key: str, value: Json, files: Path | None) -> None:
        """Keep a value under an identity."""


class Remembered:
    """The digests that this run has taken, and those that earlier ones have, since this machine was started.

    Args:
        cache: where those of earlier runs are; None knows none of them.
    """

    def __init__(self, cache: Kept | None = None) -> None:
        self._cache = cache
        self._taken: dict[str, str] = {}
        self._asked: list[Path] = []
        self._originals: dict[str, Path] = {}

    def known(self, path: Path, kind: str = "sha256") -> str:
        """Return the digest of a file if it's remembered, or "".

        Raises:
            OSError: the file can't be read.
        """
        return self._get(self._key(path, kind))

    def digest(self, path: Path, take: Callable[[], str], kind: str = "sha256") -> str:
        """Return the digest of a file: what is remembered of it, or else what `take` returns, which is remembered.

        Args:
            path: the file.
            take: reads the file.
            kind: tells digests apart that aren't made alike.

        Raises:
            OSError: the file can't be read; and what `take` raises.
        """
        key = self._key(path, kind)
        if key and path not in self._asked:
            self._asked.append(path)
        if known := self._get(key):
            return known
        is_old = bool(key) and _outlast_tick(path)
        found = take()
        if is_old and self._key(path, kind) == key:
            self._keep(key, found)
        return found

    def copied(self, path: Path, watch: Watch) -> str:
        """Return the digest of a file if it's a copy of one that was asked for in this run, and remember it, or "".

        Raises:
            OSError: the file can't be read.
            DeadlineError, StoppedError: as `Watch.check`.
        """
        key, size = self._key(path), path.stat().st_size
        for other in self._asked.copy() if key else ():
            with suppress(OSError):  # what can't be read is no original
                state = self._key(other)
                known = self._get(state)
                if not known or state == key or other.stat().st_size != size or not _outlast_tick(path):
                    continue
                if same_bytes(path, other, size, watch=watch) and (self._key(path), self._key(other)) == (key, state):
                    self._originals[key] = other
                    self._keep(key, known)
                    return known
        return ""

    def original(self, path: Path) -> Path | None:
        """Return the file that a file was found to be a copy of, unless it has changed since.

        Raises:
            OSError: the file can't be read.
        """
        return self._originals.get(self._key(path))

    def _keep(self, key: str, found: str) -> None:
        self._taken[key] = found
        if self._cache is not None:
            self._cache.put(key, found, None)

    def _get(self, key: str) -> str:
        if key in self._taken:
            return self._taken[key]
        kept = self._cache.get(key, None) if key and self._cache is not None else None
        return kept if isinstance(kept, str) and _SHA256.fullmatch(kept) else ""

    def _key(self, path: Path, kind: str = "sha256") -> str:
        """Return the identity of a file's state, "" if that doesn't tell its content."""
        with open_regular(path) as file:
            of = os.fstat(file.fileno())
            if of.st_size < _LARGE_BYTES or not of.st_ctime_ns % _COARSE_NS or not _keeps_times(file.fileno()):
                return ""
        state = [_boot(), kind, of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest() if _boot() else ""


def _outlast_tick(path: Path) -> bool:
    """Wait until any further change of a file gives it another time; return False if the clock was set back."""
    age = time.time() - path.stat().st_ctime_ns / 1e9
    if 0 <= age < _TICK_SECONDS:
        time.sleep(_TICK_SECONDS - age)
    return age >= 0


def _keeps_times(descriptor: int) -> bool:
    """Return whether a file's system changes its times with its content, on this machine's clock."""
    return _file_system(descriptor) in _KEEP_TIMES


def _file_system(descriptor: int) -> int:
    """Return the number of an open file's file system."""
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.fstatfs(descriptor, found):
        return 0
    return int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], "little")


@once
def _boot() -> str:
    """Return what differs each time that a machine starts: a crash may lose content, but keep times."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
