"""Tells directories that Model Navigator writes from directories of the user's, which it neither changes nor cleans."""

import os
import re
from pathlib import Path

from navigator.config.paths import leads_outside, repository_of
from navigator.errors import ConfigurationError, listed
from navigator.report.storage import FILES, RESULTS
from navigator.safe_files import read_file

MARKER = ".model-navigator"
"""The file that makes a directory a workspace."""

_TEXT = b"Model Navigator made this directory. It replaces and removes what is in it.\n"

# Before there was a marker, a workspace had results that begin like this.
_RESULTS_BEGIN = re.compile(rb"version: \d+\nenvironment:\n")
_RESULTS_BYTES = 64 * 2**20


def is_marked(directory: Path) -> bool:
    """Return whether the marker is in a directory; a link is none."""
    return (directory / MARKER).is_file() and not (directory / MARKER).is_symlink()


def mark(directory: Path) -> None:
    """Put the marker into a directory, for the directory's owner. OSError if that can't be done."""
    if is_marked(directory):
        return
    path = directory / MARKER
    with path.open("xb") as file:
        file.write(_TEXT)
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def has_results(directory: Path) -> bool:
    """Return whether the results of a run are in a directory."""
    try:
        return _RESULTS_BEGIN.match(read_file(directory / RESULTS, _RESULTS_BYTES, trusted=directory)) is not None
    except OSError:
        return False


def check_report_directory(directory: Path) -> None:
    """Refuse to write a report where it would replace files of the user's.

    Raises:
        ConfigurationError: the directory is behind a link out of the repository, or has such files.
    """
    path = Path(os.path.normpath(directory.absolute()))
    why = leads_outside(path, repository_of(Path.cwd() / RESULTS))
    if why is not None:
        raise ConfigurationError(*why)
    foreign = [name for name in FILES if os.path.lexists(directory / name)]
    if foreign and not is_marked(directory) and not has_results(directory):
        raise ConfigurationError(
            f"{directory}: the report would replace {listed(foreign)}, which Model Navigator didn't write",
            "move it, or choose another directory",
        )
