"""The errors that a user meets: what happened, where, what to do next, and the exit code.

A failing cell is data (`navigator.records.CellResult`), not an exception. Exceptions are for a wrong
configuration, for set-up, and, inside a worker, for a step that says why it cannot go on.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns."""

    OK = 0
    """Every requested cell is good."""
    FAILURE = 1
    """At least one requested cell is not good."""
    CONFIGURATION = 2
    """The configuration or the command line is wrong."""
    NOTHING_TO_DO = 3
    """No cell is left to convert."""
    BUG = 70
    """An error of ours (sysexits.h, EX_SOFTWARE)."""
    CANCELLED = 130
    """Interrupted by SIGINT or SIGTERM."""


class NavigatorError(Exception):
    """An error with a sentence for the user.

    Args:
        message: what happened and where.
        hint: what to do next, one sentence, or "".
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigurationError(NavigatorError):
    """The configuration, the command line or the model's signature does not allow a run."""

    exit_code = ExitCode.CONFIGURATION


class NothingToDoError(NavigatorError):
    """No cell is left after filters and applicability."""

    exit_code = ExitCode.NOTHING_TO_DO


class StepError(NavigatorError):
    """Inside a worker: this step cannot make its artifact or run it; the rest of the matrix goes on."""

    exit_code = ExitCode.FAILURE
