"""Opens what untrusted code wrote, through no link, regular files and directories only; and replaces files whole.

A component of a path after the other, by descriptor, so that no link is followed wherever it may lie, and nobody can
exchange one in the meantime. A pipe or a device isn't waited for.
"""

import errno
import os
import stat
from collections.abc import Callable
from io import FileIO
from pathlib import Path

ROOT = Path("/")

_THROUGH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MOST_ENTRIES = 100_000
_DEEPEST = 64


class UnsafeFileError(OSError):
    """A link, or something that is neither a regular file nor a directory; `strerror` says which."""


def open_file(path: Path, trusted: Path = ROOT) -> FileIO:
    """Open a regular file for reading.

    Args:
        path: where it is.
        trusted: the directory above it from which on no link is followed.

    Raises:
        UnsafeFileError: it's no regular file, or behind a link.
        OSError: it isn't there, or can't be read.
    """
    descriptor = _open(path, trusted, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFileError(errno.EINVAL, "not a regular file", str(path))
    return FileIO(descriptor, "rb")


def read_file(path: Path, limit_bytes: int, trusted: Path = ROOT) -> bytes:
    """Return the content of a regular file.

    Raises:
        UnsafeFileError, OSError: as `open_file`; OSError, too, if it's larger than `limit_bytes`.
    """
    with open_file(path, trusted) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"larger than {limit_bytes // 2**20} MiB", str(path))
    return content


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the earlier content or the new one, and a failure keeps the earlier.

    A link at `path` is replaced, not followed.

    Raises:
        OSError: it can't be written.
    """
    half = half_of(path)
    half.unlink(missing_ok=True)
    try:
        with open(os.open(half, _NEW, 0o666), "wb") as file:  # noqa: PTH123 - no method of Path takes a descriptor
            file.write(content)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def half_of(path: Path) -> Path:
    """Return what `replace_file` leaves beside a file if it's killed."""
    return path.with_name(f".{path.name}.tmp")


def open_directory(path: Path, trusted: Path = ROOT, missing: Callable[[str, int], None] | None = None) -> int:
    """Return a descriptor of a directory.

    Args:
        path: where it is.
        trusted: the directory above it from which on no link is followed.
        missing: makes a directory that isn't there, by its name and the descriptor of the one above.

    Raises:
        UnsafeFileError: it's no directory, or behind a link.
        OSError: it isn't there, or can't be read.
    """
    return _open(path, trusted, _DIRECTORY, missing)


def tree_bytes(directory: Path, limit_bytes: int, trusted: Path = ROOT) -> int:
    """Return the size of all files in a directory.

    Raises:
        UnsafeFileError: it, or something in it, is a link, or neither a regular file nor a directory.
        OSError: it can't be read; or holds more than `limit_bytes`, or more files or deeper than a model does.
    """
    total = entries = 0
    descriptor = open_directory(directory, trusted)
    try:
        for at, directories, files, inside in os.fwalk(".", dir_fd=descriptor, onerror=_raise):
            for name in (*directories, *files):
                found = os.stat(name, dir_fd=inside, follow_symlinks=False)
                path = directory / at / name
                if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                    raise UnsafeFileError(errno.EINVAL, "not a regular file", str(path))
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
                entries += 1
                if total > limit_bytes:
                    raise OSError(errno.EFBIG, f"larger than {limit_bytes / 2**30:.2f} GiB", str(path))
                if entries > _MOST_ENTRIES or len(path.parts) - len(directory.parts) > _DEEPEST:
                    raise OSError(errno.EFBIG, "more files than a model has", str(path))
    finally:
        os.close(descriptor)
    return total


def _raise(error: OSError) -> None:
    raise error


def open_child(name: str, directory: int) -> int:
    """Return a descriptor of a directory in another one. OSError if it's anything else, a link among it."""
    return os.open(name, _DIRECTORY, dir_fd=directory)


def set_mode(path: Path, change: Callable[[int], int], trusted: Path = ROOT) -> int:
    """Change the permissions of a directory, and return what they were.

    Raises:
        UnsafeFileError, OSError: as `open_directory`, or it's somebody else's.
    """
    descriptor = open_directory(path, trusted)
    try:
        before = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, change(before))
    finally:
        os.close(descriptor)
    return before


def _open(path: Path, trusted: Path, flags: int, missing: Callable[[str, int], None] | None = None) -> int:
    at = trusted.absolute()
    names = path.absolute().relative_to(at).parts
    descriptor = os.open(at, (os.O_PATH if names else os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, name in enumerate(names, start=1):
        at /= name
        above = descriptor
        try:
            descriptor = _open_below(above, name, flags if number == len(names) else _THROUGH, missing)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise UnsafeFileError(error.errno, "a symbolic link or behind one", str(at)) from error
            if error.errno == errno.ENXIO:  # a socket
                raise UnsafeFileError(error.errno, "not a regular file", str(at)) from error
            raise
        finally:
            os.close(above)
    return descriptor


def _open_below(above: int, name: str, flags: int, missing: Callable[[str, int], None] | None) -> int:
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        if missing is None:
            raise
    missing(name, above)
    return os.open(name, flags, dir_fd=above)
