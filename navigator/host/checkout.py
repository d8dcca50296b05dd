"""The git checkout that a file is in, as git says. Runs no hook and writes nothing."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Of a large working tree: its files are compared by size and time first.
_SECONDS = 10.0

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A working tree at `root` with `commit` checked out; `modified`: tracked files differ, None if unknown."""

    root: Path
    commit: str
    modified: bool | None


def checkout(directory: Path) -> Checkout | None:
    """Return the checkout that `directory` is in; None without one, without a commit, or without git."""
    found = _git(directory, "rev-parse", "--show-toplevel", "HEAD")
    root, _, commit = (found or "").strip().rpartition("\n")
    if not root or not _SHA.fullmatch(commit):
        return None
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return Checkout(root=Path(root), commit=commit, modified=None if changes is None else bool(changes))


def _git(directory: Path, *arguments: str) -> str | None:
    """Return what a command of git prints, None if it fails. No file system monitor of the repository is started."""
    words = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *arguments]
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(words, capture_output=True, env=variables, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None
