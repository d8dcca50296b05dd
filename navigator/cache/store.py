"""Finished work by identity, kept between runs in a directory of bounded size: one layer of the cache.

Owns which entries there are, how many, and who may touch them when; `navigator.cache.entry` owns a single one. Knows
neither steps nor models: a caller stores a JSON value and a directory of files under an identity. The cache is only
an aid: whatever is wrong with it, the run goes on without.

    <path>/<first 2 hex digits>/<identity>/entry.json, files/…
    <path>/tmp/                                         half-written entries
    <path>/lock                                         held while entries are evicted and published
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from navigator import disks
from navigator.cache.digests import canonical, size_bytes
from navigator.cache.earlier import Earlier
from navigator.cache.entry import DamagedError, disk_bytes, read, restore, write
from navigator.errors import ConfigurationError
from navigator.records import Json

_LEFTOVER_SECONDS = 24 * 3600
_IDENTITY = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_HALF = re.compile(r"[0-9]+-[0-9a-f]{16}")


class Cache:
    """A directory of entries, safe for several threads and runs at once. Removes nothing whose name isn't its own.

    Args:
        path: the directory, made if absent; None switches the cache off.
        limit_bytes: what all entries together may take; the least recently used ones make room for new ones.
        writable: whether anything in it may change; if not, it's only read.

    Attributes:
        notes: sentences for the user about what could not be kept or restored.
    """

    def __init__(self, path: Path | None, limit_bytes: int, *, writable: bool = True) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self.writable = writable
        self.notes: list[str] = []
        if path is None or not writable:
            return
        try:
            self._prepare(path / "tmp")
        except OSError as error:
            self._note(f"not writable ({self._why(error)}): new results aren't cached")

    def get(self, key: str, destination: Path | None) -> Json | None:
        """Return the value stored under the identity `key` and restore its files, or return None; see `restore`."""
        found = self.restore(key, destination)
        return found[0] if found is not None else None

    def restore(
        self, key: str, destination: Path | None, earlier: Earlier | None = None
    ) -> tuple[Json, dict[str, str]] | None:
        """Return the value stored under the identity `key` with its files' digests by name, and restore the files.

        None if there is no such entry. Files are copied, never linked: editing them must not reach the cache. Each is
        checked against its digest while it is copied; an entry that is damaged is removed and counts as absent.

        Args:
            key: from `navigator.cache.digests.identity`.
            destination: the directory to make; may exist if it is empty. None leaves the files alone.
            earlier: a directory that may have the same files; if it does, it's moved to `destination`.

        Raises:
            FileExistsError: `destination` is not empty.
        """
        entry = self._entry(key)
        if destination is not None and destination.exists() and any(destination.iterdir()):
            raise FileExistsError(errno.EEXIST, "a cache entry is restored into an empty directory only", destination)
        seen = _inode(entry) if entry is not None else None
        if entry is None or seen is None:
            return None
        try:
            value, files = read(entry, key, self.limit_bytes)
            if destination is not None:
                restore(entry, files, destination, earlier)
        except (FileNotFoundError, DamagedError):
            self._remove(entry, seen)
            return None
        except OSError as error:
            self._note(f"couldn't restore an entry: {self._why(error)}")
            return None
        if self.writable:
            with suppress(OSError):
                os.utime(entry / "entry.json", follow_symlinks=False)
        return value, {name: sha256 for name, (sha256, _) in files.items()}

    def put(self, key: str, value: Json, files: Path | None, known: Mapping[str, str] | None = None) -> None:
        """Store `value` and the files of the directory `files` under the identity `key`, if there is room.

        Digests that are known, by file name, aren't taken again: what comes back is checked against them.
        An entry that is there already stays. What cannot be stored is said in `notes`.

        Raises:
            TypeError: `value` is not JSON.
            ValueError: `value` is None, which `get` could not tell from a miss.
        """
        if value is None:
            raise ValueError("None cannot be stored: it means a miss")
        text = canonical(value, allow_nan=True)
        entry = self._entry(key)
        if entry is None or (entry / "entry.json").is_file():
            return
        try:
            needed = len(text) + (size_bytes(files) if files is not None else 0)
            if needed > self.limit_bytes:
                self._note(
                    f"{needed:,} bytes exceed its limit of {self.limit_bytes:,} bytes and weren't cached:"
                    " increase cache_size_bytes"
                )
                return
            self._store(entry, key, text, files, known or {})
        except OSError as error:
            self._note(f"couldn't cache a result: {self._why(error)}")
        except (ConfigurationError, DamagedError) as error:
            self._note(f"couldn't cache a result: {error}")

    def shrink(self) -> None:
        """Remove the least recently used entries beyond the limit, which may be lower than in an earlier run."""
        if self.path is not None:
            with suppress(OSError):
                with self._locked():
                    evicted, _ = self._evict(self.limit_bytes)
                _discard(evicted)

    def _store(self, entry: Path, key: str, text: bytes, files: Path | None, known: Mapping[str, str]) -> None:
        half = self._temporary()
        try:
            write(half, key, text, files, known)
            self._publish(half, entry)
        finally:
            _discard([half])

    def _publish(self, half: Path, entry: Path) -> None:
        """Make room for the half-written entry and put it in its place, unless another run was first."""
        with self._locked():
            if (entry / "entry.json").is_file():
                return
            damaged = self._take(entry)
            evicted, fits = self._evict(self.limit_bytes - disk_bytes(half))
            if fits:
                entry.parent.mkdir(exist_ok=True)
                half.rename(entry)
        _discard([damaged, *evicted])

    def _evict(self, room: int) -> tuple[list[Path | None], bool]:
        """Take the least recently used entries until the others fit into `room`; return them, and whether they do."""
        evicted = []
        present = sorted(self._entries())
        total = sum(size for _, size, _ in present)
        for _, size, oldest in present:
            if total <= room:
                break
            evicted.append(self._take(oldest))
            total -= size
        return evicted, total <= room

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (last use, bytes, path) of each entry. Links are nobody's entries: the cache may be restored."""
        assert self.path is not None
        for shard in os.scandir(self.path):
            if not _SHARD.fullmatch(shard.name) or not shard.is_dir(follow_symlinks=False):
                continue
            for entry in os.scandir(shard):
                if _IDENTITY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    used = 0
                    with suppress(OSError):
                        used = os.lstat(f"{entry.path}/entry.json").st_mtime_ns
                    yield used, disk_bytes(Path(entry.path)), Path(entry.path)

    def _entry(self, key: str) -> Path | None:
        if not _IDENTITY.fullmatch(key):
            raise ValueError(f"not an identity: {key!r}")
        return self.path / key[:2] / key if self.path is not None else None

    def _remove(self, entry: Path, seen: int) -> None:
        """Remove an entry that was found damaged, unless another run has replaced it since."""
        if not self.writable:
            return
        with suppress(OSError):
            with self._locked():
                taken = self._take(entry) if _inode(entry) == seen else None
            _discard([taken])

    def _take(self, entry: Path) -> Path | None:
        """Move an entry out of everybody's sight, at once; return where it is now, or None if it was not there."""
        taken = self._temporary()
        for path in (entry.parent, entry):
            if path.is_symlink():
                path.unlink()
                return None
        try:
            entry.rename(taken)
        except FileNotFoundError:
            return None
        return taken

    def _temporary(self) -> Path:
        assert self.path is not None
        return self.path / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _prepare(self, temporary: Path) -> None:
        """Make the directory, and remove what killed runs left half-written."""
        if temporary.is_symlink():
            temporary.unlink()
        temporary.mkdir(parents=True, exist_ok=True)
        for leftover in os.scandir(temporary):
            with suppress(OSError):
                age = time.time() - leftover.stat(follow_symlinks=False).st_mtime
                if _HALF.fullmatch(leftover.name) and age > _LEFTOVER_SECONDS:
                    _discard([Path(leftover.path)])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        assert self.path is not None
        lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _why(self, error: OSError) -> str:
        return disks.reason(error, self.path or Path.cwd())

    def _note(self, what: str) -> None:
        note = f"cache {self.path}: {what}"
        if note not in self.notes:
            self.notes.append(note)


def _discard(taken: Iterable[Path | None]) -> None:
    """Remove entries that nobody sees any more, as far as that goes: directories may be too deep for it."""
    for path in taken:
        if path is not None:
            with suppress(RecursionError):
                shutil.rmtree(path, ignore_errors=True)


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None
