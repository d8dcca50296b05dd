"""Says what is wrong with the syntax of YAML in the words of those who write it, and where it began."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from navigator.config.problems import Place, Problems

_CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What to say of an error of libyaml or PyYAML, whose words differ; `{}` is the character at its place."""

    pattern: str
    text: str
    hint: str
    where_it_began: bool = False


_RULES = (
    _Rule("end of stream.*quoted scalar", "the quote that opens here isn't closed", "close it", True),
    _Rule(
        "parsing a flow (sequence|mapping)",
        "the bracket that opens here isn't closed",
        "close it, and write commas between its values",
        True,
    ),
    _Rule("parsing a flow node", "a value is missing here", "write it, or remove a comma"),
    _Rule("a simple key", "this line has no ': '", "write 'key: value', with a space after the colon", True),
    _Rule(
        "(mapping values|sequence entries) are not allowed",
        "'{}' isn't expected here",
        "check the colon and the indentation of the line above, and quote values that contain ': ' or '- '",
    ),
    _Rule("escape character", "a backslash in double quotes begins an escape", "use single quotes, or / in paths"),
    _Rule("an (alias|anchor)|a tag|start any token", "a value can't begin with '{}' here", "quote it", True),
)
_AFTER = _Rule("", "nothing may follow the value before this", "remove it, or quote the whole value")
_ALIGNED = _Rule("", "this line doesn't belong to what is above it", "indent keys, and the items of a list, alike")
_TAB = _Rule("", "a tab indents this line", "indent with spaces: YAML doesn't allow tabs")


def note_syntax(error: yaml.YAMLError, text: str, shown: Path, problems: Problems) -> None:
    """Report an error of the YAML parser; `shown` is the file's name in problems."""
    if conflict := _CONFLICT.search(text):
        place = Place(path=shown, line=text.count("\n", 0, conflict.start()) + 1, column=1)
        problems.add(
            place, "a merge conflict isn't resolved", "keep one side, and remove the lines of <<<, === and >>>"
        )
        return
    context = getattr(error, "context", None) or ""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    words = f"{what} {context}".rstrip()
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        problems.add(Place(path=shown), f"invalid YAML: {words}", "check the syntax of the file")
        return
    rule = _rule(words, _line(text, mark), mark.column) or _Rule("", words, "check the syntax of this line")
    place = (getattr(error, "context_mark", None) or mark) if rule.where_it_began else mark
    character = _line(text, place)[place.column : place.column + 1]
    problems.add(
        Place(path=shown, line=place.line + 1, column=place.column + 1),
        f"invalid YAML: {rule.text.replace('{}', character)}",
        rule.hint,
    )


def _rule(words: str, line: str, column: int) -> _Rule | None:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return _TAB
    if "parsing a block" in words:
        return _AFTER if line[:column].strip() else _ALIGNED
    return next((rule for rule in _RULES if re.search(rule.pattern, words)), None)


def _line(text: str, mark: Any) -> str:
    lines = text.splitlines()
    return lines[mark.line] if mark.line < len(lines) else ""
