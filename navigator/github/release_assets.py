"""What is attached to a release, made ready on disk: one file for each asset, its size and digest, and the checksums.

Refuses what a release cannot take before anything is uploaded. Knows nothing of GitHub's API.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from navigator.github.artifacts.pack import opened, zipped
from navigator.github.rest import PublishError

SUMS = "SHA256SUMS"

LIMIT_BYTES = 2 * 2**30
"""A release takes files that are smaller than this."""

# Weights hardly get smaller.
_COMPRESSION = 1
# GitHub changes names with other characters, or with a period at either end.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """A model to attach: a single file as it is, several in one zip, by their path in it and on disk."""

    name: str
    files: Sequence[tuple[str, Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A file as it is uploaded; `digest` is "sha256:" and hexadecimal digits, as GitHub writes it."""

    name: str
    path: Path
    size_bytes: int
    digest: str


def prepare(assets: Sequence[Asset], extras: Sequence[Path], directory: Path) -> tuple[Prepared, ...]:
    """Return every file to attach, the checksums of the others last.

    Args:
        assets: the models.
        extras: further files, attached under their own names.
        directory: for zip files and checksums; they must stay until the upload is done.

    Raises:
        PublishError: a file has 2 GiB or more, or cannot be read.
    """
    names = unique([SUMS, *(path.name for path in extras), *(_name(asset) for asset in assets)])
    _, *names = names
    for asset in assets:
        for name, path in asset.files:
            _check_size(f"{asset.name}, {name}", _size(path))
    found = [_prepared(name, path) for name, path in zip(names, extras, strict=False)]
    for name, asset in zip(names[len(extras) :], assets, strict=True):
        path = asset.files[0][1] if len(asset.files) == 1 else _zip(name, asset, directory)
        found.append(_prepared(name, path))
    sums = directory / SUMS
    sums.write_text(
        "".join(f"{each.digest.removeprefix('sha256:')}  {each.name}\n" for each in found), encoding="utf-8"
    )
    return (*found, _prepared(SUMS, sums))


def unique(names: Iterable[str]) -> list[str]:
    """Return asset names that GitHub doesn't change, and that differ even if case is ignored."""
    taken: set[str] = set()
    found = []
    for name in names:
        safe = _UNSAFE.sub("_", name).strip(".") or "_"
        path, number, free = PurePath(safe), 1, safe
        while free.lower() in taken:
            number += 1
            free = f"{path.stem}-{number}{path.suffix}"
        taken.add(free.lower())
        found.append(free)
    return found


def _name(asset: Asset) -> str:
    return asset.name if len(asset.files) == 1 else f"{asset.name}.zip"


def _zip(name: str, asset: Asset, directory: Path) -> Path:
    path, size = directory / name, 0
    with path.open("wb") as file:
        for piece in zipped(asset.files, compression_level=_COMPRESSION):
            size += file.write(piece)
            # Not first when the disk is full of it.
            _check_size(name, size)
    return path


def _prepared(name: str, path: Path) -> Prepared:
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    _check_size(name, size)
    return Prepared(name=name, path=path, size_bytes=size, digest=f"sha256:{digest}")


def _size(path: Path) -> int:
    with opened(path) as file:
        return os.fstat(file.fileno()).st_size


def _check_size(name: str, size: int) -> None:
    if size >= LIMIT_BYTES:
        raise PublishError(
            f"{name} has {size:,} bytes; release files must be smaller than 2 GiB ({LIMIT_BYTES:,} bytes), "
            "so nothing was uploaded",
            "store it elsewhere (for example in Git LFS) and link to it, or attach it in parts (split -b 1900M)",
        )
