"""Foreign text inside markdown: names and messages come from repositories and frameworks, and must stay text.

GitHub's markdown is the target: no HTML, no table break, no mention, no reference to an issue, no link, no hidden
comment can come out of what is escaped here.
"""

import html
import re

from navigator.render.text import clean, lines, shorten

_PLAIN = re.compile(r"[^`|\\<$]+")
_MARKUP = re.compile(r"([\\`*_\[\]~#!$])")
_AT_START = re.compile(r"^([-+=:]|\d+(?=[.)]))")
_BREAK = "\u200b"
# GitHub turns these into links in plain text; a zero-width space inside keeps them text.
_LINKS = re.compile(r"(@|:(?=//)|#(?=\d)|\bGH-(?=\d)|\bwww(?=\.))", re.IGNORECASE)


def text(value: str, limit: int = 500) -> str:
    """Return `value` as inline text, on one line."""
    plain = html.escape(shorten(clean(value), limit), quote=False).replace("|", "&vert;")
    marked = _MARKUP.sub(r"\\\1", _LINKS.sub(rf"\1{_BREAK}", plain))
    return _AT_START.sub(_start, marked)


def code(value: str, limit: int = 200) -> str:
    """Return `value` as inline code, also right inside a table."""
    plain = shorten(clean(value), limit)
    if not plain:
        return '`""`'
    return f"`{plain}`" if _PLAIN.fullmatch(plain) else f"<code>{text(plain, limit)}</code>"


def fence(content: str, language: str) -> str:
    """Return `content` as a code block that nothing in it can end."""
    body = "\n".join(lines(content)).replace("<!--", f"<{_BREAK}!--").replace("-->", f"--{_BREAK}>")
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{ticks}{language}\n{body}\n{ticks}"


def row(cells: list[str]) -> str:
    """Return escaped cells as one row of a table."""
    return f"| {' | '.join(cells)} |"


def _start(found: re.Match[str]) -> str:
    """A list item, heading rule or number at the start of a line would begin a block."""
    begun = found.group(1)
    return f"{begun}{_BREAK}" if begun.isdigit() else f"\\{begun}"
