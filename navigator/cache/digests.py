"""What identifies content: digests of files, directories and models, and identities of plain data.

Imports no framework, since an identity is asked for before anything is known to need one.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache as once
from functools import partial
from pathlib import Path

from navigator.cache.remembered import Remembered
from navigator.errors import ConfigurationError
from navigator.models.files import external_data, files_of
from navigator.models.reading import Watch, blocks, first_data
from navigator.records import Json

_LARGE_BYTES = 2**30
_PART_BYTES = 2**26
# Parts that are asked for at once: a sparse file of terabytes has more than anybody wants to queue.
_PARTS_AT_ONCE = 256

Stamp = tuple[tuple[str, int, int, int], ...]


def digest(path: Path, watch: Watch | None = None, remembered: Remembered | None = None) -> str:
    """Return the SHA-256 of a file's bytes, or of a directory's files.

    A directory's digest is that of the lines that `sha256sum` prints for its files, sorted:
    `find * -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum`. Links count as what they lead to.

    Raises:
        ConfigurationError: the directory holds a link that leads out of it, nowhere or in a circle, or a file that
            is neither regular nor a directory.
        OSError: it cannot be read.
        DeadlineError, StoppedError: as `navigator.models.reading.Watch.check`.
    """
    watch, remembered = watch or Watch(), remembered or Remembered()
    if not path.is_dir():
        return remembered.digest(path, lambda: remembered.copied(path, watch) or _sha256(blocks(path, watch)))
    lines = sorted(_line(digest(file, watch, remembered), name) for name, file in files_of(path))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def model_digest(path: Path, watch: Watch | None = None, remembered: Remembered | None = None) -> str:
    """Return the digest of a model: of its file, with an ONNX model's external data, or of its directory.

    A model in one file has the file's own digest, as `sha256sum` says; with external data the digest is the one of
    a directory that holds just these files. A file over 1 GiB counts as the digests of its parts: the holes of a
    sparse file cost nothing then, and the digest depends on content alone. External data does so only if a part is
    empty: otherwise, a copy of it in an artifact has its digest, which isn't taken again.

    Raises:
        ConfigurationError, OSError, DeadlineError, StoppedError: as `digest`.
    """
    watch, remembered = watch or Watch(), remembered or Remembered()
    if path.is_dir():
        lines = [_line(_file_digest(file, watch, remembered), name) for name, file in files_of(path)]
        return hashlib.sha256(b"".join(sorted(lines))).hexdigest()
    names = external_data(path)
    if not names:
        return _file_digest(path, watch, remembered)
    lines = [_line(_file_digest(path, watch, remembered), path.name)]
    lines += [_line(_beside_digest(path.parent / name, watch, remembered), name) for name in names]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def artifact_digest(directory: Path, watch: Watch | None = None, remembered: Remembered | None = None) -> str:
    """Return the digest of an artifact's directory: where it holds a single file, that file's, as `sha256sum` says.

    Raises:
        ConfigurationError, OSError, DeadlineError, StoppedError: as `digest`.
    """
    watch = watch or Watch()
    return combined({name: digest(path, watch, remembered) for name, path in files_of(directory)})


def combined(digests: Mapping[str, str]) -> str:
    """Return the digest of an artifact's directory that holds files with these digests, by relative name."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(b"".join(sorted(_line(sha256, name) for name, sha256 in digests.items()))).hexdigest()


def stamp(*paths: Path) -> Stamp:
    """Return what changes as soon as somebody writes to one of these files, or to a file in one of these directories.

    Names, places on the disk, sizes and times of the last change, which no program can set back; no content is read.
    What is not there or not allowed has a stamp too.
    """
    found: list[tuple[str, int, int, int]] = []
    for path in paths:
        try:
            for name, file in files_of(path) if path.is_dir() else [("", path)]:
                status = file.stat()
                found.append((f"{path}/{name}", status.st_ino, status.st_size, status.st_ctime_ns))
        except (OSError, ConfigurationError):
            found.append((str(path), 0, 0, 0))
    return tuple(found)


def size_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a directory.

    Raises:
        ConfigurationError, OSError: as `digest`.
    """
    return sum(file.stat().st_size for _, file in files_of(path)) if path.is_dir() else path.stat().st_size


def identity(parts: Json) -> str:
    """Return the SHA-256 of `parts` as canonical JSON: equal values have equal identities, in any order of keys.

    Raises:
        TypeError, ValueError: `parts` is not JSON, or holds a NaN or an infinity.
    """
    return hashlib.sha256(canonical(parts, allow_nan=False)).hexdigest()


def canonical(value: Json, *, allow_nan: bool) -> bytes:
    """Return `value` as JSON, the same bytes whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan).encode()


def _sha256(content: Iterable[memoryview]) -> str:
    found = hashlib.sha256()
    for block in content:
        found.update(block)
    return found.hexdigest()


def _file_digest(path: Path, watch: Watch, remembered: Remembered) -> str:
    """Return the digest of a file, or for a large one that of the digests of its parts."""
    if path.stat().st_size <= _LARGE_BYTES:
        return digest(path, watch, remembered)
    return remembered.digest(path, partial(_in_parts, path, watch), "parts")


def _beside_digest(path: Path, watch: Watch, remembered: Remembered) -> str:
    """Return the digest of external data: the file's own, or for a large one with an empty part that of its parts."""

    def take() -> str:
        return (_file_digest if _has_empty_part(path, watch) else digest)(path, watch, remembered)

    return remembered.digest(path, take, "beside")


def _has_empty_part(path: Path, watch: Watch) -> bool:
    """Return whether one of a file's parts has zeros only. Of most others, only the first block is read."""
    for start in range(0, path.stat().st_size - _PART_BYTES + 1, _PART_BYTES):
        part = blocks(path, watch, start=start, end=start + _PART_BYTES)
        if all(block.tobytes() == bytes(len(block)) for block in part):
            return True
    return False


def _in_parts(path: Path, watch: Watch) -> str:
    size = path.stat().st_size
    parts = hashlib.sha256(b"parts of %d\n" % size)
    starts = range(0, size, _PART_BYTES)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as threads:
        for first in range(0, len(starts), _PARTS_AT_ONCE):
            for part in threads.map(partial(_part, path, size, watch), starts[first : first + _PARTS_AT_ONCE]):
                parts.update(part.encode())
    return parts.hexdigest()


def _part(path: Path, size: int, watch: Watch, start: int) -> str:
    end = min(start + _PART_BYTES, size)
    is_hole = end - start == _PART_BYTES and first_data(path, start) >= end
    watch.check(path, end, size)
    return _empty_part() if is_hole else _sha256(blocks(path, watch, start=start, end=end))


@once
def _empty_part() -> str:
    return hashlib.sha256(bytes(_PART_BYTES)).hexdigest()


def _line(sha256: str, name: str) -> bytes:
    """Return the line of sha256sum, which marks names that it has to escape so that no name can forge a line."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != name else b"", sha256.encode(), os.fsencode(escaped))
