"""Unpacks what others uploaded: a zip that a stranger made, trusted in nothing.

Owns what may come out of an archive: how much, under which names, and regular files only. What the files say is for
others to judge.
"""

import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

from navigator.github.rest import PublishError

_MAX_FILES = 10_000
_MAX_DEPTH = 64
# deflate packs zeros to a thousandth. Results pack to a tenth, models hardly.
_MAX_RATIO = 200
_ALWAYS_BYTES = 2**20
_CHUNK_BYTES = 2**20
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1


def unpack(
    archive: Path,
    to: Path,
    *,
    limit_bytes: int,
    names: Collection[str] | None = None,
    skip_others: bool = False,
    limit_files: int = _MAX_FILES,
) -> tuple[Path, ...]:
    """Unpack a zip into a directory and return the files, in the archive's order.

    After an error some files may be there: unpack into a temporary directory.

    Args:
        archive: the zip.
        to: the directory, made where it is absent. No one else writes to it; no file in it is replaced.
        limit_bytes: of all files together, counted while they are written.
        names: the only names that may be in it; None: any path that is relative and safe.
        skip_others: whether files with other names are left out, and nothing is wrong with them.
        limit_files: how many.

    Raises:
        PublishError: what is wrong with the archive.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            entries = [entry for entry in zipped.infolist() if names is not None or not entry.is_dir()]
            if skip_others and names is not None:
                entries = [entry for entry in entries if entry.orig_filename in names]
            if len(entries) > limit_files:
                raise _unacceptable(archive, f"it has {len(entries):,} files, more than {limit_files:,}")
            seen: set[str] = set()
            for entry in entries:
                if reason := _unfit(entry, names, seen):
                    raise _unacceptable(archive, f"{entry.orig_filename!r} {reason}")
            return _write(zipped, entries, to, limit_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _unacceptable(archive, f"it's damaged or not a zip ({error})") from error


def _write(zipped: zipfile.ZipFile, entries: list[zipfile.ZipInfo], to: Path, limit_bytes: int) -> tuple[Path, ...]:
    """Write the files. What an archive declares of sizes is not believed."""
    archive = Path(str(zipped.filename))
    ratio_bytes = _ALWAYS_BYTES + _MAX_RATIO * archive.stat().st_size
    written, files = 0, []
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in entries:
        path = to / entry.filename
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _unacceptable(archive, f"{entry.filename!r} already exists, or is a directory") from error
        with zipped.open(entry) as source, file:
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > limit_bytes:
                    raise _unacceptable(archive, f"it unpacks to more than {limit_bytes:,} bytes")
                if written > ratio_bytes:
                    raise _unacceptable(archive, f"it unpacks to more than {_MAX_RATIO} times its size")
                file.write(chunk)
        files.append(path)
    return tuple(files)


def _unfit(entry: zipfile.ZipInfo, names: Collection[str] | None, seen: set[str]) -> str:
    """Return why an entry is not accepted, or "". `seen` are names as a careless file system compares them."""
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if names is not None and name not in names:
        return f"is unexpected: only {' and '.join(sorted(names))} may be in it"
    if kind not in {0, stat.S_IFREG}:
        return "isn't a regular file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return "is compressed by a method other than deflate"
    if reason := _unsafe(name):
        return reason
    folded = unicodedata.normalize("NFC", name).casefold()
    if folded in seen:
        return "is in it twice"
    seen.add(folded)
    return ""


def _unsafe(name: str) -> str:
    """Return why a name is not a safe relative path, or ""."""
    parts = name.split("/")
    if name.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "points outside the directory"
    if "\\" in name or ":" in name or not name.isprintable():
        return "contains a backslash, a colon or a control character"
    if len(parts) > _MAX_DEPTH or any(not part or part == "." or len(part.encode()) > 255 for part in parts):
        return "isn't a plain path, or is too deep or too long"
    if any(_DEVICE.fullmatch(part) or part != part.rstrip(". ") for part in parts):
        return "is a Windows device name, or ends with a dot or a space"
    return ""


def _unacceptable(archive: Path, reason: str) -> PublishError:
    return PublishError(
        f"the archive {archive.name} was rejected: {reason}",
        "run the job that uploaded it again, and check whether something else uploads under its name",
    )
