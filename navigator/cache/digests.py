"""What identifies content: digests of files, directories and models, and identities of plain data.

Knows the layout of an ONNX file just enough to find the files that hold its weights; imports no framework, since an
identity is asked for before anything is known to need one.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from navigator.errors import ConfigurationError
from navigator.records import Json

# A protobuf StringStringEntryProto that begins with the key "location": only a TensorProto's external_data has it.
_LOCATION = b"\x0a\x08location\x12"
_PATH_MAX = 4096
_ZIP = b"PK\x03\x04"

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


def model_files(path: Path) -> tuple[Path, ...]:
    """Return the directory of a model, or its file and those that hold an ONNX model's external data.

    Raises:
        OSError: it cannot be read.
    """
    return (path, *(path.parent / name for name in (external_data(path) if path.is_file() else [])))


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


def files_of(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative name, path) of each file in a directory, in a fixed order; links as what they lead to.

    Raises:
        ConfigurationError, OSError: as `digest`.
    """
    inside = _real(root)

    def walk(directory: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
        for path in sorted(directory.iterdir()):
            real = _real(path) if path.is_symlink() else path
            if path.is_symlink() and not real.is_relative_to(inside):
                raise ConfigurationError(
                    f"{path} is a link to a place outside {root}", f"copy the file itself into {root}"
                )
            if real.is_dir():
                if _real(real) in above:
                    raise ConfigurationError(
                        f"{path} is a link to one of its own parent directories", "remove the link"
                    )
                yield from walk(path, f"{prefix}{path.name}/", (*above, _real(real)))
            elif real.is_file():
                yield f"{prefix}{path.name}", real
            else:
                raise ConfigurationError(f"{path} is neither a file nor a directory", f"remove it from {root}")

    yield from walk(root, "", (inside,))


def _real(path: Path) -> Path:
    """Return where links lead. Path.resolve raises different errors for a circle in Python 3.11 and 3.13."""
    return Path(os.path.realpath(path))


def _line(sha256: str, name: str) -> bytes:
    """Return the line of sha256sum, which marks names that it has to escape so that no name can forge a line."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != name else b"", sha256.encode(), os.fsencode(escaped))


def external_data(model: Path) -> list[str]:
    """Return the names of the files beside an ONNX model, whatever its suffix, that hold its weights.

    For any other file [], unless it happens to hold such a reference to a file that is there. The zip archives of
    torch are not looked through.

    Raises:
        OSError: it cannot be read.
    """
    if not model.stat().st_size:
        return []
    names = set()
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_LOCATION) if content[: len(_ZIP)] != _ZIP else -1
        while at >= 0:
            at += len(_LOCATION)
            length, shift = 0, 0
            while at < len(content):
                byte = content[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            names.add(content[at : at + min(length, _PATH_MAX)])
            at = content.find(_LOCATION, at)
    inside = _real(model.parent)
    found = []
    for name in sorted(os.fsdecode(name) for name in names if b"\0" not in name):
        weights = _real(model.parent / name)
        if weights.is_relative_to(inside) and weights.is_file():
            found.append(name)
    return found
