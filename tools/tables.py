"""Tables and other bits of Markdown, for what writes the documentation's generated parts."""

from collections.abc import Iterable


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table; its texts are escaped already."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def codes(names: Iterable[str]) -> str:
    """Return names in code font, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def code(text: str) -> str:
    """Return a text in code font, or nothing."""
    return f"`{text}`" if text else ""


def escaped(text: str) -> str:
    """Return a text that may contain code, for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def sentence(text: str) -> str:
    """Return a phrase as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text
