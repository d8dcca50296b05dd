"""What identifies content: digests of files, directories and models, and identities of plain data.

Imports no framework, since an identity is asked for before anything is known to need one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from navigator.errors import ConfigurationError
from navigator.models.files import external_data, files_of
from navigator.records import Json

Stamp = tuple[tuple[str, int, int, int], ...]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a directory's files.

    A directory's digest is that of the lines that `sha256sum` prints for its files, sorted:
    `find * -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum`. Links count as what they lead to.

    Raises:
        ConfigurationError: the directory holds a link that leads out of it, nowhere or in a circle, or a file that
            is neither regular nor a directory.
        OSError: it cannot be read.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = sorted(_line(digest(file), name) for name, file in files_of(path))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def model_digest(path: Path) -> str:
    """Return the digest of a model: of its file, with an ONNX model's external data, or of its directory.

    A model in one file has the file's own digest, as `sha256sum` says; with external data the digest is the one of
    a directory that holds just these files.

    Raises:
        ConfigurationError, OSError: as `digest`.
    """
    names = external_data(path) if path.is_file() else []
    if not names:
        return digest(path)
    lines = sorted(_line(digest(path.parent / name), name) for name in [path.name, *names])
    return hashlib.sha256(b"".join(lines)).hexdigest()


def artifact_digest(directory: Path) -> str:
    """Return the digest of an artifact's directory: where it holds a single file, that file's, as `sha256sum` says.

    Raises:
        ConfigurationError, OSError: as `digest`.
    """
    return combined({name: digest(path) for name, path in files_of(directory)})


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


def _line(sha256: str, name: str) -> bytes:
    """Return the line of sha256sum, which marks names that it has to escape so that no name can forge a line."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != name else b"", sha256.encode(), os.fsencode(escaped))
