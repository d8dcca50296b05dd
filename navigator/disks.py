"""Full disks: how to recognise one behind an error, and how to name it."""

import errno
import os
import re
from pathlib import Path

REMEDY = "free up disk space, then run again"

_CODES = frozenset({errno.ENOSPC, errno.EDQUOT})
# Libraries in C++ have the words only, and so have the errors that are raised about several files at once.
_WORDS = re.compile("No space left on device|Disk quota exceeded", re.IGNORECASE)

# Less than a file takes.
_NOTHING_BYTES = 64 * 1024
# So much that something else than the disk may be used up.
_ROOM_BYTES = 1024**3


def is_about_full_disk(error: BaseException | None) -> bool:
    """Return whether an error, or one that it comes from, means that a disk or a quota is used up."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _CODES:
            return True
        if says_full_disk(_text(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def says_full_disk(text: str) -> bool:
    """Return whether a message means that a disk or a quota is used up."""
    return _WORDS.search(text) is not None


def is_full(path: Path) -> bool:
    """Return whether nothing can be written where `path` is."""
    try:
        found = os.statvfs(_existing(path))
    except OSError:
        return False
    no_files = found.f_files > 0 and found.f_favail == 0
    return found.f_bavail * found.f_frsize < _NOTHING_BYTES or no_files


def full_disk(path: Path) -> str:
    """Return a clause that names the disk where `path` is, which is full: its mount point, and what is left."""
    place = _existing(path)
    while not os.path.ismount(place):
        place = place.parent
    try:
        found = os.statvfs(place)
    except OSError:
        return f"the disk at {place} is full"
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    files = ", but no more files fit" if found.f_files > 0 and found.f_favail == 0 else ""
    quota = ", or a quota on it is used up" if free > _ROOM_BYTES and not files else ""
    return f"the disk at {place} is full{quota} ({_size(free)} of {_size(whole)} free{files})"


def reason(error: OSError, path: Path) -> str:
    """Return why a file at `path`, or the one that the error names, can't be written or read."""
    place = file_of(error) or path
    # Python calls the streams of a process "<stdout>" and the like: what is behind them isn't known.
    if is_about_full_disk(error) and not place.name.startswith("<"):
        return full_disk(place)
    return error.strerror or str(error)


def file_of(error: BaseException) -> Path | None:
    """Return the file that an error of the operating system names, or None; of a copy, the one that was written."""
    name = (error.filename2 or error.filename) if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else None


def _existing(path: Path) -> Path:
    """Return the nearest directory above `path` that exists; "/" does."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))


def _size(count: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count // 1024} KiB"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - somebody's __str__
        return ""
