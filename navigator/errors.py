"""Errors shown to the user: what happened, where, what to do next, and the exit code.

A failed conversion is data (`navigator.records.CellResult`), not an exception. Exceptions are for an invalid
configuration, for set-up, and, inside a worker, for a step that explains why it can't continue. The functions below
are the only way for names from models, files and the command line to get into a message.
"""

import errno
from collections.abc import Iterable
from enum import IntEnum

from navigator import disks

_LONGEST_NAME = 60
_MOST_NAMES = 12


class ExitCode(IntEnum):
    """What the process returns."""

    OK = 0
    """Every requested conversion passed."""
    FAILURE = 1
    """At least one requested conversion failed."""
    CONFIGURATION = 2
    """The configuration or the command line is invalid."""
    NOTHING_TO_DO = 3
    """Nothing to convert."""
    BUG = 70
    """An internal error (sysexits.h, EX_SOFTWARE)."""
    IO_ERROR = 74
    """A file can't be read or written, such as on a full disk (sysexits.h, EX_IOERR)."""
    CANCELLED = 130
    """Interrupted by SIGINT, SIGTERM or SIGHUP."""


class NavigatorError(Exception):
    """An error with a message for the user. As text it has one line, and the hint on a second.

    Args:
        message: what happened and where.
        hint: what to do next, in one sentence, or "".
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return one_line(self.message) + (f"\n  {one_line(self.hint)}" if self.hint else "")


class ConfigurationError(NavigatorError):
    """The configuration or the command line is invalid, or contradicts the model."""

    exit_code = ExitCode.CONFIGURATION


class NothingToDoError(NavigatorError):
    """The filters, or this machine, leave nothing to convert."""

    exit_code = ExitCode.NOTHING_TO_DO


class StepError(NavigatorError):
    """Inside a worker: this step can't create or run its converted model. The rest of the run continues."""

    exit_code = ExitCode.FAILURE


class NotApplicableError(StepError):
    """Inside a worker: this step would only copy the model, so that its artifact would have a wrong name."""


class FileError(NavigatorError):
    """A file can't be read or written."""

    exit_code = ExitCode.IO_ERROR


def remedy(error: OSError) -> str:
    """Return what to do about an error of the operating system, or "" if only its own message helps."""
    if disks.is_about_full_disk(error):
        return disks.REMEDY
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "check the permissions of this path, then run again"
        case _:
            return ""


def one_line(text: str) -> str:
    """Return `text` with everything that would move a terminal's cursor, or hide or reorder text, escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def quote(text: str) -> str:
    """Return `text` in quotes, on one line, shortened if it is long."""
    return repr(text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}...")


def listed(names: Iterable[str]) -> str:
    """Return names separated by commas: the first dozen and the number of others, or "none"."""
    known = list(names)
    shown = [name if name.isprintable() and 0 < len(name) <= _LONGEST_NAME else quote(name) for name in known]
    more = [f"and {len(known) - _MOST_NAMES} more"] if len(known) > _MOST_NAMES else []
    return ", ".join([*shown[:_MOST_NAMES], *more]) or "none"
