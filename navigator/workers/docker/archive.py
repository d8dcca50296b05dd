"""Files on their way to a container and back, as tar streams: never a whole archive in memory, none on disk.

What comes back is a stranger's: of an archive only names, directories and bytes of regular files are taken, below
the one path that was asked for. Talks to no daemon.
"""

import contextlib
import io
import os
import secrets
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from navigator.errors import remedy
from navigator.workers.docker.connection import ContainerError
from navigator.workers.task import gibibytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK_BYTES = 2**20

_ZEROS = bytes(CHUNK_BYTES)
# Docker mounts these when a container starts: what is put there before or behind is not seen.
_ITS_OWN = ("dev", "proc", "sys")
_EVERYBODYS = ("/tmp", "/var/tmp")  # noqa: S108 - named to keep the modes that they have
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """What a container is sent. All paths are absolute, and the same inside.

    Args:
        reads: files and directories to copy; links in them are followed.
        writes: what the worker may make; their directories become its own.
        directories: further directories of its own.
        owner: user and group id of the worker.
    """

    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    directories: tuple[Path, ...]
    owner: int


def pack(upload: Upload, *, check: Callable[[], None]) -> Iterator[bytes]:
    """Yield a tar archive, to be unpacked at /.

    What the worker may not write belongs to root and can be read by everybody.

    Args:
        upload: what is in it.
        check: called before every chunk; may raise to stop.

    Raises:
        ContainerError: something to be read is absent, unreadable, no file, or changes meanwhile.
    """
    try:
        yield from _directories(upload)
        for path in upload.reads:
            yield from _tree(path, upload, check, ())
    except OSError as error:  # must not look like one of the connection
        where = f"{error.filename}: " if error.filename else ""
        raise ContainerError(f"can't send {where}{error.strerror}", "make sure it exists and is readable") from error
    yield bytes(2 * tarfile.BLOCKSIZE)


def _directories(upload: Upload) -> Iterator[bytes]:
    """Yield the directories that lead to everything, so that an image's own modes keep the worker from nothing."""
    own = {*upload.directories, *(Path(os.path.normpath(path.parent)) for path in upload.writes)}
    own.update(path for path in upload.writes if path.is_dir())
    everything = {*own, *(path.parent for path in upload.reads)}
    for path in sorted(everything):
        if path.parts[1:2] and path.parts[1] in _ITS_OWN:
            message = f"{path} can't be used in a container, which has its own /{path.parts[1]}"
            raise ContainerError(message, "move the workspace and the models to another directory")
    for path in sorted({*everything, *(above for each in everything for above in each.parents)}):
        if path.name in ("", ".."):
            continue
        if str(path) in _EVERYBODYS:
            yield _header(path, mode=0o1777, owner=0)
        else:
            yield _header(path, mode=0o755, owner=upload.owner if path in own else 0)


def _tree(path: Path, upload: Upload, check: Callable[[], None], above: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    found = path.stat()
    owner = upload.owner if any(path.is_relative_to(each) for each in upload.writes) else 0
    if stat.S_ISREG(found.st_mode):
        yield from _file(path, owner, check)
    elif stat.S_ISDIR(found.st_mode):
        here = (found.st_dev, found.st_ino)
        if here in above:
            raise ContainerError(
                f"can't send {path}: it's a link to one of its own parent directories", "remove the link"
            )
        yield _header(path, mode=0o755, owner=owner, seconds=found.st_mtime)
        for each in sorted(path.iterdir()):
            yield from _tree(each, upload, check, (*above, here))
    else:
        raise ContainerError(f"can't send {path}: it's neither a file nor a directory", "remove it")


def _file(path: Path, owner: int, check: Callable[[], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
        yield _header(path, mode=mode, owner=owner, size=found.st_size, seconds=found.st_mtime)
        left = found.st_size
        while left:
            check()
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise ContainerError(
                    f"can't send {path}: the file shrank while it was read", "run again while nothing writes to it"
                )
            left -= len(chunk)
            yield chunk
        yield bytes(-found.st_size % tarfile.BLOCKSIZE)


def _header(path: Path, *, mode: int, owner: int, size: int | None = None, seconds: float = 0.0) -> bytes:
    """Return the header of a file, or without a size of a directory."""
    member = tarfile.TarInfo(os.path.normpath(path).lstrip("/"))
    member.type = tarfile.DIRTYPE if size is None else tarfile.REGTYPE
    member.size, member.mode, member.mtime = size or 0, mode, int(seconds)
    member.uid = member.gid = owner
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def unpack(chunks: Iterable[bytes], destination: Path, *, name: str, check: Callable[[], None]) -> None:
    """Make `destination` of an archive, or add to it where it is a directory. It appears when all of it is there.

    Args:
        chunks: the archive of one file or directory.
        destination: where.
        name: what the archive calls it.
        check: called before every chunk; may raise to stop.

    Raises:
        ContainerError: the archive holds anything but files and directories below `name`, or it cannot be written.
    """
    half_made = destination.with_name(f".{secrets.token_hex(8)}.partial")
    reader = _Reader(iter(chunks), check)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        content = io.BufferedReader(reader, CHUNK_BYTES)
        with tarfile.open(fileobj=content, mode="r|", bufsize=CHUNK_BYTES) as archive:
            _extract(archive, half_made, name)
            while content.read(CHUNK_BYTES):
                pass
            # Where a member ends, `tarfile` takes the end of the stream for the archive's.
            if reader.total < archive.offset + 2 * tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it's truncated")
        _settle(half_made, destination)
    except OSError as error:
        raise ContainerError(f"can't write {destination}: {error.strerror or error}", remedy(error)) from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ContainerError(f"{destination} arrived damaged: {error}", "run again") from error
    finally:
        _discard(half_made)


def _extract(archive: tarfile.TarFile, destination: Path, name: str) -> None:
    room = shutil.disk_usage(destination.parent).free
    for member in archive:
        archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        parts = PurePosixPath(member.name).parts
        if parts[:1] != (name,) or ".." in parts:
            raise _unwanted(member, "outside the requested path")
        if member.type in _KINDS or not (member.isreg() or member.isdir()):
            raise _unwanted(member, _KINDS.get(member.type, "neither a file nor a directory"))
        room -= member.size
        if room < 0:
            raise _unwanted(member, f"too large for the free disk space ({gibibytes(member.size)})")
        target = destination.joinpath(*parts[1:])
        if len(parts) > 1:
            target.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            target.mkdir(exist_ok=True)
            continue
        if os.path.lexists(target):
            raise _unwanted(member, "there twice")
        content = archive.extractfile(member)
        assert content is not None
        with content, target.open("xb") as file:
            _copy(content, file, member.size)


def _unwanted(member: tarfile.TarInfo, what: str) -> ContainerError:
    message = f"the worker left {member.name[:200]!r}, which is {what}"
    return ContainerError(message, "it was discarded; check what the model or the converter writes there")


def _copy(source: IO[bytes], file: IO[bytes], size: int) -> None:
    """Copy, leaving holes where a whole chunk is zero."""
    while chunk := source.read(CHUNK_BYTES):
        if chunk == (_ZEROS if len(chunk) == CHUNK_BYTES else bytes(len(chunk))):
            file.seek(len(chunk), os.SEEK_CUR)
        else:
            file.write(chunk)
    file.truncate(size)


def _settle(made: Path, destination: Path) -> None:
    """Move what was made to its place; directories that are there keep what else they hold."""
    if made.is_dir() and destination.is_dir():
        for each in made.iterdir():
            there = destination / each.name
            if there.is_symlink() and each.is_dir():
                there.unlink()
            _settle(each, there)
    else:
        made.replace(destination)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


class _Reader(io.RawIOBase):
    """A readable file of chunks."""

    def __init__(self, chunks: Iterator[bytes], check: Callable[[], None]) -> None:
        self._chunks = chunks
        self._check = check
        self._rest = memoryview(b"")
        self.total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        while not self._rest:
            self._check()
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
            self.total += len(chunk)
        room = memoryview(buffer)
        size = min(len(room), len(self._rest))
        room[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
