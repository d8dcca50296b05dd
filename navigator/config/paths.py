"""Paths as users write them: made absolute, and kept inside the repository where a file names them.

A navigator.yaml comes with a pull request from somebody; what it can read and write ends at the repository.
"""

import os
from pathlib import Path

_GIT = ".git"


def repository_of(config_path: Path) -> Path:
    """Return the nearest directory above `config_path` that holds `.git`, else the file's own directory."""
    directory = Path(os.path.realpath(config_path.parent))
    for candidate in (directory, *directory.parents):
        if os.path.lexists(candidate / _GIT):
            return candidate
    return directory


def absolute(text: str, start: Path) -> Path:
    """Return `text` as an absolute path, relative ones from `start`; symbolic links stay as they are."""
    return Path(os.path.normpath(start / text))


def outside(text: str, start: Path, repository: Path, *, written: bool) -> tuple[str, str] | None:
    """Return why a file of `repository` may not name a path, and what to do; None if it may.

    Args:
        text: the path as written.
        start: the directory that a relative path starts from.
        repository: an absolute path without symbolic links.
        written: the run writes there; then git's own directory is refused too, since its hooks are programs.
    """
    # Both are refused where they differ: `link/..` is not where `link` stands, and programs disagree about it.
    for path in (start / text, absolute(text, start)):
        why = _outside(Path(os.path.realpath(path)), repository, written=written)
        if why is not None:
            return why
    return None


def shown(path: Path, working_directory: Path) -> Path:
    """Return `path` as it is shown to a user who stands in `working_directory`."""
    inside = path.is_relative_to(working_directory)
    return path.relative_to(working_directory) if inside and path != working_directory else path


def _outside(real: Path, repository: Path, *, written: bool) -> tuple[str, str] | None:
    if not real.is_relative_to(repository):
        return f"{real} is outside the repository {repository}", "move it there, or pass --allow-outside"
    if written and any(part.lower() == _GIT for part in real.relative_to(repository).parts):
        return f"{real} is inside git's own directory", "choose another path"
    return None
