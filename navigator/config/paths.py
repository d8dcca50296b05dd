"""Makes the paths that users write absolute, and keeps those that a file names inside its repository.

A navigator.yaml may come with a pull request from anyone, so it can only name paths in its own repository.
"""

import difflib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

MOST_LOOKED_AT = 1000
"""Of the files of a directory that somebody may have filled with anything."""

_GIT = ".git"
# Also as they are after `absolute`.
_URL = re.compile(r"(^|/)[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_VARIABLE = re.compile(r"(^|/)~|\$")
_PATTERN = re.compile(r"[*?\[]")


def repository_of(config_path: Path) -> Path:
    """Return the nearest directory above `config_path` that contains `.git`, or else the file's own directory."""
    directory = Path(os.path.realpath(config_path.parent))
    for candidate in (directory, *directory.parents):
        if os.path.lexists(candidate / _GIT):
            return candidate
    return directory


def absolute(text: str, start: Path) -> Path:
    """Return `text` as an absolute path, relative ones from `start`; symbolic links stay as they are."""
    return Path(os.path.normpath(os.path.join(start, text)))  # noqa: PTH118 - a tenth of the time of Path


def outside(
    text: str, start: Path, repository: Path, *, written: bool, real: Callable[[str], str] = os.path.realpath
) -> tuple[str, str] | None:
    """Return why a file in `repository` may not name a path, and what to do; None if it may.

    Args:
        text: the path as written.
        start: the directory that a relative path starts from.
        repository: an absolute path without symbolic links.
        written: the run writes there. If so, git's own directory is refused too, since hooks are programs.
        real: returns where the links of a directory lead; one that remembers it takes a third of the time.
    """
    # Both are checked, since programs disagree about `link/..`: it may be the directory above the link, or its target.
    joined = os.path.join(start, text)  # noqa: PTH118 - a tenth of the time of Path
    for path in dict.fromkeys((joined, os.path.normpath(joined))):
        why = _outside(_behind(path, real), repository, written=written)
        if why is not None:
            return why
    return None


def leads_outside(path: Path, repository: Path) -> tuple[str, str] | None:
    """Return why nothing may be written to an absolute path, and what to do; None if it may be.

    A pull request can put a link where a run writes, so that it would write elsewhere. What the user calls by a path
    outside of the repository is theirs to decide.
    """
    real = Path(os.path.realpath(path))
    if not path.is_relative_to(repository) or real.is_relative_to(repository):
        return None
    text = f"{path.relative_to(repository)} leads out of the repository, through a symbolic link to {real}"
    return text, "remove the link, or choose another directory"


def shown(path: Path, working_directory: Path) -> Path:
    """Return `path` as a user in `working_directory` would write it."""
    inside = path.is_relative_to(working_directory)
    return path.relative_to(working_directory) if inside and path != working_directory else path


def instead(path: Path) -> str:
    """Return what to do about a path that leads to nothing, as far as one can tell what was meant."""
    text = str(path)
    if _URL.search(text):
        return "download the file, and write its path"
    if _VARIABLE.search(text):
        return "write the path itself: neither ~ nor variables are expanded"
    if _PATTERN.search(text):
        return "write the path of each file: patterns aren't expanded"
    if "\\" in text:
        return "separate directories with /"
    names = _beside(path)
    alike = [each for each in names if _is_alike(Path(each), Path(path.name.lower()))]
    near = difflib.get_close_matches(path.name.lower(), alike, n=1)
    return f"did you mean {path.parent / names[near[0]]}?" if near else "check the path, or download the file first"


def _is_alike(found: Path, wanted: Path) -> bool:
    """Return whether one name may be a misspelling of another: names with the same suffix are alike already."""
    if found.suffix != wanted.suffix:
        return found.stem == wanted.stem
    return bool(difflib.get_close_matches(wanted.stem, [found.stem], cutoff=0.7))


def _beside(path: Path) -> dict[str, str]:
    """Return the names in the directory of a path, by their lower-case forms."""
    try:
        return {each.name.lower(): each.name for each in itertools.islice(path.parent.iterdir(), MOST_LOOKED_AT)}
    except OSError:
        return {}


def is_file(path: str | Path) -> bool:
    """Return whether `path` is a file; False also for a name that is too long, for which `Path.is_file` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def _behind(path: str, real: Callable[[str], str]) -> str:
    """Return where the links of a path lead, from where those of its directory do."""
    directory, name = os.path.split(path)
    found = os.path.join(real(directory), name)  # noqa: PTH118
    return os.path.realpath(found) if name in ("", ".", "..") or os.path.islink(found) else found  # noqa: PTH114


def _outside(real: str, repository: Path, *, written: bool) -> tuple[str, str] | None:
    if not f"{real}/".startswith(os.path.join(repository, "")):  # noqa: PTH118
        return f"{real} is outside the repository {repository}", "move it into the repository, or pass --allow-outside"
    if written and any(part.lower() == _GIT for part in Path(real).relative_to(repository).parts):
        return f"{real} is inside the .git directory", "choose another path"
    return None
