"""Escapes untrusted text for markdown: names and messages come from repositories and frameworks, and must stay text.

For GitHub's markdown: escaped text can't become HTML, a table break, a mention, a reference to an issue, a link or a
hidden comment.
"""

import html
import re

from navigator.render.text import clean, harmless, lines, shorten

_PLAIN = re.compile(r"[^`|\\<$]+")
_MARKUP = re.compile(r"([\\`*_\[\]~#!$])")
_AT_START = re.compile(r"^([-+=:]|\d+(?=[.)]))")
_BREAK = "\u200b"
# Characters that can't end a markdown link or start another.
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@&=%+,;-]+")
# GitHub turns these into links, unless they contain a zero-width space.
_LINKS = re.compile(r"(@|:(?=//)|#(?=\d)|\bGH-(?=\d)|\bwww(?=\.))", re.IGNORECASE)


def text(value: str, limit: int = 500) -> str:
    """Return `value` as inline text, on one line."""
    plain = html.escape(shorten(clean(value), limit), quote=False).replace("|", "&vert;")
    marked = _MARKUP.sub(r"\\\1", _LINKS.sub(rf"\1{_BREAK}", plain))
    return _AT_START.sub(_start, marked)


def code(value: str, limit: int = 200) -> str:
    """Return `value` as inline code, also for use in a table."""
    plain = shorten(clean(value), limit)
    if not plain:
        return '`""`'
    return f"`{plain}`" if _PLAIN.fullmatch(plain) and "##[" not in plain else f"<code>{text(plain, limit)}</code>"


def html_text(value: str, limit: int = 500) -> str:
    """Return `value` as text inside an HTML element on one line, where markdown isn't read."""
    plain = _LINKS.sub(rf"\1{_BREAK}", shorten(clean(value), limit))
    return html.escape(plain).replace("##[", "##&#91;")


def html_code(value: str) -> str:
    """Return `value` as code inside an HTML element."""
    return f"<code>{html_text(value, 100) or '&quot;&quot;'}</code>"


def fence(content: str, language: str) -> str:
    """Return `content` as a code block that its content can't end."""
    body = harmless("\n".join(lines(content))).replace("<!--", f"<{_BREAK}!--").replace("-->", f"--{_BREAK}>")
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{ticks}{language}\n{body}\n{ticks}"


def link(label: str, url: str) -> str:
    """Return a link with an escaped `label`, or "" if `url` isn't a plain one."""
    return f"[{label}]({url})" if _URL.fullmatch(url) else ""


def unbroken(amount: str) -> str:
    """Keep an amount and its unit on one line. Browsers break lines at hyphens too; this isn't meant to be copied."""
    return amount.replace(" ", "\u00a0").replace("-", "\u2011")


def row(cells: list[str]) -> str:
    """Return escaped cells as one row of a table."""
    return f"| {' | '.join(cells)} |"


def _start(found: re.Match[str]) -> str:
    """Escape the start of a line that would begin a list, a heading or a rule."""
    begun = found.group(1)
    return f"{begun}{_BREAK}" if begun.isdigit() else f"\\{begun}"
