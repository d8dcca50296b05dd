"""The commit that is checked out in a working tree, from the files of its `.git`: no git is run.

Git would run what the repository's own configuration names, and the action's images have none. No link is followed, and
nothing outside the workspace is read.

Source: gitrepository-layout(5), git-config(1), "Syntax", and git-pack-refs(1).
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from navigator import safe_files

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# No name has a component that leads out of refs/, or a character that git forbids.
_REF = re.compile(r"refs(/(?!\.)[^/\x00-\x20\x7f~^:?*\[\\]+)+")
_HEADER = re.compile(r'\s*\[\s*([^\]"\s]+)(?:\s+"([^"]*)")?\s*\]')
_URL = re.compile(r"\s*url\s*=([^#;]*)", re.IGNORECASE)

_SMALL_BYTES = 2**20
# A ref takes about 100 bytes.
_PACKED_BYTES = 64 * 2**20
# Git follows as many symbolic refs.
_MOST_REFS = 5

# What HEAD has for older programs where refs are in a reftable.
_IN_REFTABLE = "refs/heads/.invalid"


class ReftableError(OSError):
    """The refs of a repository are in a reftable, which nothing here reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingTree:
    """A directory with a `.git`.

    `git` is where its HEAD is, `common` where its refs and configuration are; `part` tells whether it's a submodule or
    another tree whose `.git` is a file.
    """

    root: Path
    workspace: Path
    git: Path
    common: Path
    part: bool

    def origin_urls(self) -> tuple[str, ...]:
        """Return the URLs of the remote `origin`. OSError if the configuration can't be read."""
        inside, urls = False, []
        for line in _read(self.common / "config", self.workspace).splitlines():
            header = _HEADER.match(line)
            if header:
                inside = (header[1].lower(), header[2]) == ("remote", "origin")
            entry = _URL.match(line, header.end() if header else 0)
            if inside and entry:
                urls.append(entry[1].strip().strip('"'))
        return tuple(urls)

    def head(self) -> str:
        """Return the full SHA of the commit that is checked out.

        Raises:
            OSError: it can't be read, or a branch without a commit is checked out.
            ReftableError: the refs are in a reftable.
        """
        value = _read(self.git / "HEAD", self.workspace).strip()
        for _ in range(_MOST_REFS):
            if _SHA.fullmatch(value):
                return value
            ref = value.removeprefix("ref:").strip()
            if ref == _IN_REFTABLE:
                raise ReftableError(errno.EOPNOTSUPP, "its refs are in a reftable", str(self.git))
            if not value.startswith("ref:") or not _REF.fullmatch(ref):
                break
            value = self._value(ref)
        raise OSError(errno.EINVAL, "names no commit", str(self.git / "HEAD"))

    def _value(self, ref: str) -> str:
        for directory in dict.fromkeys((self.git, self.common)):
            path = directory / ref
            # Packing may leave an empty directory of the same name.
            if os.path.lexists(path) and not path.is_dir():
                return _read(path, self.workspace).strip()
        try:
            packed = _read(self.common / "packed-refs", self.workspace, _PACKED_BYTES)
        except FileNotFoundError:
            return ""
        found = re.search(rf"^([0-9a-f]+) {re.escape(ref)}$", packed, re.MULTILINE)
        return found[1] if found else ""


def working_trees(directory: Path, workspace: Path, outside: Path | None = None) -> Iterator[WorkingTree]:
    """Yield the working trees that a directory is in, the innermost first, up to the workspace.

    Args:
        directory: without links.
        workspace: without links.
        outside: the workspace's path where git ran, if that is another one: `.git` of a worktree has absolute paths.

    Raises:
        OSError: the `.git` of a tree leads out of the workspace, or can't be read.
    """
    for root in (directory, *directory.parents):
        if not root.is_relative_to(workspace):
            return
        if os.path.lexists(root / ".git"):
            yield _working_tree(root, workspace, outside)


def _working_tree(root: Path, workspace: Path, outside: Path | None) -> WorkingTree:
    def place(base: Path, text: str) -> Path:
        path = Path(os.path.normpath(base / text.rstrip("\r\n")))
        if outside is not None and path.is_relative_to(outside):
            path = workspace / path.relative_to(outside)
        if not path.is_relative_to(workspace):
            raise OSError(errno.EXDEV, "leads out of the workspace", str(root / ".git"))
        return path

    git = root / ".git"
    part = git.is_file() and not git.is_symlink()
    if part:
        git = place(root, _read(git, workspace).removeprefix("gitdir:").lstrip())
    try:
        common = place(git, _read(git / "commondir", workspace))
    except FileNotFoundError:
        common = git
    return WorkingTree(root=root, workspace=workspace, git=git, common=common, part=part)


def _read(path: Path, workspace: Path, limit_bytes: int = _SMALL_BYTES) -> str:
    try:
        return os.fsdecode(safe_files.read_file(path, limit_bytes, workspace))
    except OSError as error:
        # The name alone is what was opened in the directory above it.
        error.filename = str(path)
        raise
