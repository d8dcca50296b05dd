"""What is wrong with a configuration: places, problems, and the error that carries all of them.

Knows neither YAML nor the schema.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from navigator.errors import ConfigurationError

# One wrong habit, repeated, must not bury the reader (or cost seconds of suggestions).
_MOST_PROBLEMS = 100
_LONGEST_QUOTE = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a value stands: a file's line and column, both from 1, or, without `path`, the command line."""

    path: Path | None = None
    line: int | None = None
    column: int | None = None


COMMAND_LINE = Place()


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One problem, with what to do about it.

    `path` is as the user would write it; None for the command line. `line` is None where the file as a whole is
    meant.
    """

    path: Path | None
    line: int | None
    column: int | None
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        where = [str(part) for part in (self.path, self.line, self.column) if part is not None]
        return f"{':'.join(where)}: {text}" if where else text


class InvalidConfigurationError(ConfigurationError):
    """Everything that is wrong with a configuration, in the order of the file.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Problems:
    """Collects problems; counts those beyond a hundred instead of keeping them."""

    found: list[Problem] = field(default_factory=list)
    left_out: int = 0

    @property
    def full(self) -> bool:
        return len(self.found) >= _MOST_PROBLEMS

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Note that `message` is wrong at `place`."""
        if self.full:
            self.left_out += 1
            return
        problem = Problem(path=place.path, line=place.line, column=place.column, message=message, hint=hint)
        if problem not in self.found:
            self.found.append(problem)

    def check(self) -> None:
        """Raise what was found.

        Raises:
            InvalidConfigurationError: there is at least one problem.
        """
        if not self.found:
            return
        ordered = sorted(self.found, key=_order)
        if self.left_out:
            last = ordered[-1]
            text = f"{self.left_out} further problems are not listed"
            ordered.append(Problem(path=last.path, line=None, column=None, message=text))
        raise InvalidConfigurationError(ordered)


def quote(text: str) -> str:
    """Return `text` in quotes, shortened if it is long, control characters escaped."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "...")


def about(name: str) -> str:
    """Return the beginning of a sentence about the entry `name`, "" for the one without a name."""
    return f"{name if name.isprintable() else quote(name)}: " if name else ""


def _order(problem: Problem) -> tuple[bool, str, int, int]:
    return problem.path is None, str(problem.path), problem.line or 0, problem.column or 0
