"""Foreign text made harmless for terminals and logs: names and messages come from repositories and frameworks. Pure."""

import unicodedata


def clean(text: str) -> str:
    """Return text on one line without characters that steer a terminal, a browser or the direction of writing."""
    return " ".join("".join(_printable(each, " ") for each in text).split())


def lines(text: str) -> list[str]:
    """Return the lines of text without characters that steer a terminal, their indentation kept."""
    return ["".join(_printable(each, "") for each in line).rstrip() for line in text.replace("\t", "    ").splitlines()]


def shorten(text: str, limit: int) -> str:
    """Return text cut to `limit` characters, and visibly so."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _printable(character: str, instead: str) -> str:
    category = unicodedata.category(character)
    # A surrogate is a byte of a path that is not UTF-8: it is shown as unreadable, not hidden.
    return "\ufffd" if category == "Cs" else instead if category[0] == "C" else character
