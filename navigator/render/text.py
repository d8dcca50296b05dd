"""Sanitizes untrusted text, such as names and messages from models and frameworks, for terminals and logs. Pure."""

import re
import unicodedata

from navigator.errors import one_line

# What GitHub's runner takes for a command in any line of a step's output; see `navigator.github.commands`.
_COMMAND = re.compile(r"^( *):(?=:)", re.MULTILINE)
_OLD_COMMAND = re.compile(r"##(?=\[)")


def printable(text: str) -> str:
    """Return lines of text for a terminal or a job's log: nothing in it controls either, or is hidden or reordered.

    The escapes are those of JSON, which stays JSON.
    """
    shown = "\n".join(one_line(line.rstrip("\r")) for line in text.replace("\t", "    ").split("\n"))
    return _OLD_COMMAND.sub(r"#\\u0023", shown)


def harmless(text: str) -> str:
    """Return printable lines, none of which is a command to GitHub's runner."""
    return _COMMAND.sub(r"\1\\u003a", printable(text))


def clean(text: str) -> str:
    """Return text on one line, without characters that control a terminal, a browser or the text direction."""
    # Most texts are plain, and there are tens of thousands in a large report.
    plain = text.isascii() and text.isprintable()
    return " ".join((text if plain else "".join(_printable(each, " ") for each in text)).split())


def lines(text: str) -> list[str]:
    """Return the lines of text without characters that control a terminal. Keeps indentation."""
    return ["".join(_printable(each, "") for each in line).rstrip() for line in text.replace("\t", "    ").splitlines()]


def shorten(text: str, limit: int) -> str:
    """Return text truncated to `limit` characters, with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _printable(character: str, instead: str) -> str:
    category = unicodedata.category(character)
    # A surrogate is a byte of a path that is not UTF-8: it is replaced, not removed.
    return "\ufffd" if category == "Cs" else instead if category[0] == "C" else character
