"""The cache directory that a user names: one layer of entries that is trusted, and one for each pull request or branch.

A model is code and can write whatever its run can write, so a run on code that nobody has reviewed reads the trusted
layer but never writes it, and a trusted run never reads another one. Who may write which files is up to the caller:
the action lends its engine a single layer, see `navigator.action.sandbox`.

    <path>/model-navigator-cache/CACHEDIR.TAG           see bford.info/cachedir
    <path>/model-navigator-cache/trusted/               a layer, see `navigator.cache.store`
    <path>/model-navigator-cache/untrusted/<name>/      others, one for each pull request or branch

Nothing else in <path> is read, written or removed.
"""

import errno
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from navigator.cache.earlier import Earlier
from navigator.cache.store import Cache
from navigator.records import Json
from navigator.safe_files import open_directory, open_file, read_file

NAME = "model-navigator-cache"
TRUSTED = "trusted"
UNTRUSTED = "untrusted"

# Tells the engine which layer is its own. Only the action sets it.
LAYER_VARIABLE = "MODEL_NAVIGATOR_CACHE_LAYER"

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by Model Navigator.
# For information about cache directory tags, see https://bford.info/cachedir/
"""
_LAYER = re.compile(rf"{TRUSTED}|{UNTRUSTED}/[a-z]+-[0-9a-f]+")
_TIMING = "timing"
_TIMING_BYTES = 64 * 2**20
# Of the cache's limit, to untrusted layers together. The trusted one has the rest as soon as there are others.
_UNTRUSTED_SHARE = 4


class Layers:
    """The layers of a cache directory that a run reads and writes; safe for several threads and runs at once.

    Args:
        path: the directory that the user named; made if absent.
        limit_bytes: what all layers together may take. Untrusted ones get at most a quarter of it.
        layer: the run's own: TRUSTED, or what `untrusted` returns. Other runs' entries are read if they're trusted.
    """

    def __init__(self, path: Path, limit_bytes: int, layer: str = TRUSTED) -> None:
        self._notes: list[str] = []
        self._own, self._others = Cache(None, 0), list[Cache]()
        try:
            home = claim(path, layer)
            prune(home, limit_bytes, layer)
        except OSError as error:
            self._notes.append(f"cache {path}: not writable ({error.strerror}): nothing is cached")
            return
        self._own = Cache(home / layer, room(home, limit_bytes, layer))
        if layer == TRUSTED:
            self._own.shrink()
        else:
            self._others = [Cache(home / TRUSTED, limit_bytes, writable=False)]
            self._copy_timing(home / TRUSTED / _TIMING)

    @property
    def notes(self) -> list[str]:
        """Sentences for the user about what could not be kept or restored."""
        return [*self._notes, *(note for each in (*self._others, self._own) for note in each.notes)]

    @property
    def timing(self) -> Path | None:
        """The directory for TensorRT's measurements; None without a cache."""
        return self._own.path / _TIMING if self._own.path is not None else None

    def get(self, key: str, destination: Path | None) -> Json | None:
        """Return the value under an identity, and restore its files; see `Cache.get`."""
        found = self.restore(key, destination)
        return found[0] if found is not None else None

    def restore(
        self, key: str, destination: Path | None, earlier: Earlier | None = None
    ) -> tuple[Json, dict[str, str]] | None:
        """Return the value under an identity with its files' digests, trusted before own; see `Cache.restore`."""
        found = (each.restore(key, destination, earlier) for each in (*self._others, self._own))
        return next((each for each in found if each is not None), None)

    def put(self, key: str, value: Json, files: Path | None, known: Mapping[str, str] | None = None) -> None:
        """Store a value and files in the run's own layer; see `Cache.put`."""
        self._own.put(key, value, files, known)

    def _copy_timing(self, source: Path) -> None:
        """Begin with the trusted layer's measurements: they take minutes."""
        assert self.timing is not None
        measurements: list[Path] = []
        with suppress(OSError):
            measurements += source.iterdir()
        for measured in measurements:
            with suppress(OSError):
                content = read_file(measured, _TIMING_BYTES, source)
                self.timing.mkdir(exist_ok=True)
                with (self.timing / measured.name).open("xb") as file:
                    file.write(content)


def is_layer(name: str) -> bool:
    """Tell whether a name is that of a layer."""
    return _LAYER.fullmatch(name) is not None


def untrusted(kind: str, number: int | str) -> str:
    """Return the name of a layer: of a `kind` such as "pr", with a number or a hexadecimal digest."""
    return f"{UNTRUSTED}/{kind}-{number}"


def claim(path: Path, layer: str) -> Path:
    """Make the cache's own directory in `path`, and a layer in it, where they are missing; return the own directory.

    Raises:
        OSError: it can't be made, there is a link in its place (UnsafeFileError), or it's somebody else's.
        ValueError: there is no such layer.
    """
    if not is_layer(layer):
        raise ValueError(f"not a layer: {layer!r}")
    home = path / NAME
    if not os.path.lexists(home):
        _make(home)
    os.close(open_directory(home, path))
    if not _is_ours(home):
        raise FileExistsError(errno.EEXIST, f"{NAME} isn't Model Navigator's: it has no {_TAG}", str(home))
    os.close(open_directory(home / layer, path, lambda name, above: os.mkdir(name, 0o755, dir_fd=above)))
    return home


def _make(home: Path) -> None:
    """Make the directory with its tag, at once: another run may be about to."""
    half = home.parent / f".{NAME}.{secrets.token_hex(8)}"
    half.mkdir(0o755, parents=True)
    try:
        (half / _TAG).write_bytes(_TAG_TEXT)
        with suppress(FileExistsError):
            half.rename(home)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _is_ours(home: Path) -> bool:
    try:
        with open_file(home / _TAG, home) as file:
            return file.read(len(_TAG_TEXT)) == _TAG_TEXT
    except FileNotFoundError:
        return False


def room(home: Path, limit_bytes: int, layer: str) -> int:
    """Return how many bytes a layer may take, beside the others."""
    share = limit_bytes // _UNTRUSTED_SHARE
    if layer == TRUSTED:
        return limit_bytes - share if (home / UNTRUSTED).exists() else limit_bytes
    others = sum(_disk_bytes(each) for each in _untrusted(home) if each != home / layer)
    return max(0, min(share, limit_bytes - _disk_bytes(home / TRUSTED)) - others)


def prune(home: Path, limit_bytes: int, layer: str) -> None:
    """Remove the untrusted layers that were not used for longest, until the rest takes half of what they may.

    Whole ones: what untrusted code wrote is not looked into. What this process may not remove stays.
    """
    own = home / layer
    with suppress(OSError):
        os.utime(own)
    total, allowed = 0, limit_bytes // _UNTRUSTED_SHARE // 2
    for each in sorted(_untrusted(home), key=lambda path: (path != own, -_changed(path))):
        total += _disk_bytes(each)
        if total > (allowed * 2 if each == own else allowed):
            subprocess.run(["/bin/rm", "-rf", "--", each], stderr=subprocess.DEVNULL, check=False)
    if own.parent != home:
        own.mkdir(exist_ok=True)


def _untrusted(home: Path) -> list[Path]:
    try:
        with os.scandir(home / UNTRUSTED) as found:
            return [Path(each.path) for each in found if is_layer(f"{UNTRUSTED}/{each.name}")]
    except OSError:
        return []


def _changed(path: Path) -> int:
    """Return when a directory last changed, in ns; 0 if another run has removed it."""
    with suppress(OSError):
        return path.lstat().st_mtime_ns
    return 0


def _disk_bytes(path: Path) -> int:
    """Return what a directory takes on the disk. `du` goes as deep as directories are, and follows no link."""
    said = subprocess.run(["/usr/bin/du", "-s", "-B1", "--", path], capture_output=True, text=True, check=False).stdout
    return int(said.split()[0]) if said else 0
