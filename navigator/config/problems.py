"""Problems of a configuration: where each one is, and the error that carries all of them.

Knows neither YAML nor the schema.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from navigator.errors import ConfigurationError, listed, one_line

# A mistake that is repeated must not bury the reader (or cost seconds of suggestions).
_MOST_PROBLEMS = 100


# No dataclass, and neither are nodes and values: thousands of models have hundreds of thousands of them, and to make a
# frozen dataclass takes several times as long.
class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a value is: a line and column of a file, both from 1; the command line if `path` is None."""

    path: Path | None = None
    line: int | None = None
    column: int | None = None


COMMAND_LINE = Place()


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One problem and what to do about it, each on one printable line.

    `path` is as the user would write it; None for the command line. `line` is None if the problem concerns the whole
    file.
    """

    path: Path | None
    line: int | None
    column: int | None
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        where = [str(part) for part in (self.path, self.line, self.column) if part is not None]
        return f"{one_line(':'.join(where))}: {text}" if where else text


class InvalidConfigurationError(ConfigurationError):
    """All problems of a configuration, in the order of the file, one a line.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True)
class Problems:
    """Collects problems; counts those beyond a hundred instead of keeping them."""

    found: list[Problem] = field(default_factory=list)
    left_out: int = 0

    @property
    def full(self) -> bool:
        return len(self.found) >= _MOST_PROBLEMS

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Note a problem at `place`. Names in `message` and `hint` may hold any character."""
        if self.full:
            self.left_out += 1
            return
        problem = Problem(
            path=place.path, line=place.line, column=place.column, message=one_line(message), hint=one_line(hint)
        )
        if problem not in self.found:
            self.found.append(problem)

    def extend(self, other: "Problems") -> None:
        """Note what was found elsewhere."""
        self.found += other.found
        self.left_out += other.left_out

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
            text = f"{self.left_out} more problems are not shown"
            ordered.append(Problem(path=last.path, line=None, column=None, message=text))
        raise InvalidConfigurationError(ordered)


def about(name: str) -> str:
    """Return the start of a message about the entry `name`, "" for the entry without a name."""
    return f"{listed([name])}: " if name else ""


def _order(problem: Problem) -> tuple[bool, str, int, int]:
    return problem.path is None, str(problem.path), problem.line or 0, problem.column or 0
