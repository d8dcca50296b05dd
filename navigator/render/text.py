"""Sanitizes untrusted text, such as names and messages from models and frameworks, for terminals and logs. Pure."""

import unicodedata


def clean(text: str) -> str:
    """Return text on one line, without characters that control a terminal, a browser or the text direction."""
    return " ".join("".join(_printable(each, " ") for each in text).split())


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
