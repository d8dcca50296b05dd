"""One entry of the cache: a directory with `entry.json`, which has the value and the files' digests, and `files/`.

A cache that was restored from elsewhere may hold anything: what is read is checked, and no link in it is followed.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath

from navigator.cache.digests import canonical
from navigator.cache.earlier import Earlier
from navigator.models.files import files_of
from navigator.records import Json
from navigator.safe_files import UnsafeFileError, open_file, read_file, tree_bytes

VERSION = 1

_CHUNK_BYTES = 2**20
_LIMIT_BYTES = 64 * 2**20

Files = dict[str, tuple[str, int]]
"""Digest and size of files, by their names relative to the entry's directory of files."""


class DamagedError(Exception):
    """An entry is not what `write` wrote."""


def write(entry: Path, key: str, value: bytes, source: Path | None, known: Mapping[str, str]) -> None:
    """Write an entry.

    Args:
        entry: the directory to make.
        key: the entry's identity.
        value: canonical JSON.
        source: the directory of its files, None for none.
        known: digests that are known, by relative name. If a file isn't the one with its digest, or is damaged while
            it's copied, the entry is damaged.

    Raises:
        DamagedError: a file cannot be read.
        ConfigurationError, OSError: as `navigator.models.files.files_of`, or the entry cannot be written.
    """
    written = {}
    (entry / "files").mkdir(parents=True)
    for name, path in files_of(source) if source is not None else ():
        target = entry / "files" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            found, size = _copy(file, target, known.get(name, ""))
        written[name] = {"sha256": found, "size": size}
    record = {
        "version": VERSION,
        "identity": key,
        "files": written,
        "value_sha256": hashlib.sha256(value).hexdigest(),
        "value": json.loads(value),
    }
    with (entry / "entry.json").open("wb") as file:
        file.write(canonical(record, allow_nan=True))
        file.flush()
        os.fsync(file.fileno())


def read(entry: Path, key: str, limit_bytes: int) -> tuple[Json, Files]:
    """Return an entry's value, and what it says of its files.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not what `write` wrote for this identity, or its files have more than `limit_bytes`.
        OSError: it cannot be read just now.
    """
    with _checked():
        text = read_file(entry / "entry.json", _LIMIT_BYTES, _cache_of(entry))
    try:
        record = json.loads(text)
        if record["version"] != VERSION or record["identity"] != key:
            raise DamagedError("another version's or another entry's")
        value = record["value"]
        if hashlib.sha256(canonical(value, allow_nan=True)).hexdigest() != record["value_sha256"]:
            raise DamagedError("the value differs from its digest")
        files = {_safe(name): (str(of["sha256"]), _size(of["size"])) for name, of in record["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(str(error)) from error
    if sum(size for _, size in files.values()) > limit_bytes:
        raise DamagedError("larger than the cache")
    if any(str(above) in files for name in files for above in PurePosixPath(name).parents):
        raise DamagedError("a file is inside a file")
    return value, files


def restore(entry: Path, files: Files, destination: Path, earlier: Earlier | None = None) -> None:
    """Copy an entry's files into `destination`, which appears whole or not at all. Errors as of `read`.

    If the directory `earlier` already has exactly these files, it's moved there instead: reading gigabytes takes a
    fraction of the time of writing them.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    if earlier is not None and _has(earlier, files):
        with suppress(OSError):
            earlier.path.rename(destination)
            return
    half = destination.parent / f".{destination.name}.{secrets.token_hex(8)}"
    half.mkdir()
    try:
        for name, (sha256, size) in files.items():
            target = half / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _checked():
                source = open_file(entry / "files" / name, _cache_of(entry))
            with source:
                if os.fstat(source.fileno()).st_size != size or _copy(source, target) != (sha256, size):
                    raise DamagedError(f"{name} differs from its digest")
        half.rename(destination)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def disk_bytes(entry: Path) -> int:
    """Return the bytes of an entry without following links; what vanishes meanwhile counts nothing."""
    total = 0
    with suppress(RecursionError):  # deeper than any entry is
        for folder, _, names in os.walk(entry):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(f"{folder}/{name}").st_size
    return total


def _cache_of(entry: Path) -> Path:
    """Return the directory that the user chose, and that may be behind links: <cache>/<2 digits>/<entry>."""
    return entry.parents[1]


@contextmanager
def _checked() -> Iterator[None]:
    """Take a link or a pipe in an entry for damage, and what no entry is as long or large as."""
    try:
        yield
    except UnsafeFileError as error:
        raise DamagedError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EFBIG):
            raise DamagedError(f"{error.filename}: {error.strerror}") from error
        raise


def _copy(source: BufferedReader | FileIO, target: Path, known: str = "") -> tuple[str, int]:
    """Write what `source` holds to the new file `target`, zeros as holes; return digest, unless it's known, and size.

    Reads once. Large chunks are digested by a second thread while they are written, each of which takes as long.
    """
    sha256, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with target.open("xb", buffering=0) as file, ThreadPoolExecutor(max_workers=1) as thread:
        while count := _read_into(buffer, source):
            chunk = buffer[:count]
            size += count
            digested = thread.submit(sha256.update, chunk) if count == _CHUNK_BYTES and not known else None
            if digested is None and not known:
                sha256.update(chunk)
            _write_chunk(file, chunk, size)
            if digested is not None:
                digested.result()
        file.truncate(size)
        return known or sha256.hexdigest(), size


def _read_into(buffer: memoryview, source: BufferedReader | FileIO) -> int:
    try:
        return source.readinto(buffer) or 0
    except OSError as error:
        raise DamagedError(f"{source.name}: {error.strerror}") from error


def _write_chunk(file: FileIO, chunk: memoryview, end: int) -> None:
    """Write a chunk that ends at byte `end` of the file; zeros as a hole."""
    if not chunk[0] and bytes(chunk) == bytes(len(chunk)):
        file.seek(end)
        return
    while chunk:
        chunk = chunk[file.write(chunk) :]


def _has(earlier: Earlier, files: Files) -> bool:
    """Return whether a directory has exactly these files, behind no link and under no other name."""
    directory = earlier.path
    try:
        tree_bytes(directory, sum(size for _, size in files.values()), directory.parent)
        names = {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
        return names == files.keys() and all(_is(earlier, name, files[name]) for name in names)
    except OSError:
        return False


def _is(earlier: Earlier, name: str, expected: tuple[str, int]) -> bool:
    sha256, size = expected
    with open_file(earlier.path / name, earlier.path.parent) as file:
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_nlink) != (size, 1):
            return False
        return earlier.sha256(file) == sha256


def _safe(name: str) -> str:
    """Return a relative name that stays where it belongs."""
    if not name or "\0" in name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        raise DamagedError(f"the name {name!r} leaves the entry")
    os.fsencode(name)
    return name


def _size(value: Json) -> int:
    if not isinstance(value, int) or value < 0:
        raise DamagedError(f"{value!r} isn't a size")
    return value
