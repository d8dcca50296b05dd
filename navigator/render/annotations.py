"""Annotations: sentences that a pull request shows beside a line of a file. Pure.

Owns what is worth an annotation and where it belongs. How it is told to GitHub is `navigator.publish.workflow`'s.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad what an annotation says is, in the words of GitHub's workflow commands."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A sentence about a line of a file. `path` is relative to the workspace, "" where it is about none."""

    level: Level
    message: str
    title: str = ""
    path: str = ""
    line: int | None = None
    column: int | None = None
