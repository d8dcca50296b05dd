"""Errors shown to the user: what happened, where, what to do next, and the exit code.

A failed conversion is data (`navigator.records.CellResult`), not an exception. Exceptions are for an invalid
configuration, for set-up, and, inside a worker, for a step that explains why it can't continue. The functions below
are the only way for names from models, files and the command line to get into a message.
"""

import errno
import re
from collections.abc import Iterable
from enum import IntEnum

from navigator import disks

_LONGEST_NAME = 60
_MOST_NAMES = 12


class ExitCode(IntEnum):
    """What the process returns."""

    OK = 0
    """Every requested conversion passed, or with `fail_on: regression` and a baseline, there is no regression."""
    FAILURE = 1
    """A requested conversion failed, `output_path` isn't written, or `fail_on: regression` finds a regression."""
    CONFIGURATION = 2
    """The configuration or the command line is invalid."""
    NOTHING_TO_DO = 3
    """Nothing to convert."""
    BUG = 70
    """An internal error (sysexits.h, EX_SOFTWARE)."""
    EXHAUSTED = 71
    """No memory, threads, processes or open files are left (sysexits.h, EX_OSERR)."""
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


class UndeclaredError(StepError):
    """Inside a worker: the model's file doesn't store what the user may declare, and a probe may find."""


class ReturnedError(StepError):
    """Inside a worker: what a model does or returns can't be used. Other inputs rarely change that."""


class NotApplicableError(StepError):
    """Inside a worker: this step would only copy the model, so that its artifact would have a wrong name."""


class FileError(NavigatorError):
    """A file can't be read or written."""

    exit_code = ExitCode.IO_ERROR


class ExhaustedError(NavigatorError):
    """The system has no more memory, threads, processes or open files for this program."""

    exit_code = ExitCode.EXHAUSTED


_MEMORY = "free up memory, use a machine with more of it, or raise the limit that `ulimit -v` shows"
_PROCESSES = "end other programs, or raise the limit that `ulimit -u` shows"
_FILES = "raise the limit that `ulimit -n` shows"
_NUMBERS = {
    errno.ENOMEM: ("memory", _MEMORY),
    errno.EAGAIN: ("processes", _PROCESSES),
    errno.EMFILE: ("open files", _FILES),
    errno.ENFILE: ("open files", _FILES),
}
_NO_MEMORY = re.compile(r"bad_alloc|failed to map segment|cannot allocate memory", re.IGNORECASE)


def exhausted(error: BaseException | None) -> ExhaustedError | None:
    """Return what the system has run out of if an error, or the one that it comes from, says that; or else None."""
    match error:
        case None:
            return None
        case MemoryError():
            return ExhaustedError(f"not enough memory: {error}" if str(error) else "not enough memory", _MEMORY)
        case OSError() if error.errno in _NUMBERS:
            what, hint = _NUMBERS[error.errno]
            return ExhaustedError(
                f"not enough {what}: {error.filename}" if error.filename else f"not enough {what}", hint
            )
        case ImportError() if _NO_MEMORY.search(str(error)):
            reason = next(line for line in str(error).splitlines() if _NO_MEMORY.search(line))
            return ExhaustedError(f"not enough memory: {reason.strip()}", _MEMORY)
        case RuntimeError() if str(error) == "can't start new thread":
            return ExhaustedError("not enough threads", _PROCESSES)
        case _:
            return exhausted(error.__cause__)


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
