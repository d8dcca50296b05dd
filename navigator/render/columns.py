"""Columns of plain text by their width on a terminal, which isn't the number of characters.

Pure, except for `columns_of`.
"""

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

_NARROWEST = 40


def width(text: str) -> int:
    """Return the width of a text on a terminal: wide characters take two columns, combining ones none."""
    if text.isascii():
        return len(text)
    # Importing it takes longer than `--help` may take.
    from rich.cells import cell_len

    return cell_len(text)


def left(text: str, columns: int) -> str:
    """Return a text padded with blanks on the right."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    """Return a text padded with blanks on the left."""
    return " " * (columns - width(text)) + text


def aligned(rows: Sequence[Sequence[str]], *, texts: int) -> list[str]:
    """Return rows as lines: the first `texts` columns aligned to the left, the others, numbers, to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    pads = [left if index < texts else right for index in range(len(widths))]
    return [
        "  ".join(pad(cell, columns) for pad, cell, columns in zip(pads, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def fitted(
    rows: Sequence[Sequence[str]], columns: int, *, shrink: Mapping[int, int], drop: Sequence[int]
) -> list[list[str]]:
    """Return the rows of a table so that `aligned` makes lines of at most `columns`, as far as that is possible.

    Args:
        rows: cells; the first row is the head.
        columns: the width of a line.
        shrink: columns of the table that may be shortened, with their least widths. The first ones give way before
            anything is dropped, the others only afterwards.
        drop: columns that may be left out, in this order.
    """
    cells = [list(row) for row in rows]
    kept = list(range(len(cells[0])))
    first, *others = shrink
    _shorten(cells, first, columns, kept, shrink[first])
    for index in drop:
        if _total(cells, kept) <= columns:
            break
        kept.remove(index)
    for row, whole in zip(cells, rows, strict=True):
        row[first] = whole[first]  # there's more room again
    for index in (first, *others):
        _shorten(cells, index, columns, kept, shrink[index])
    return [[row[index] for index in kept] for row in cells]


def cut(text: str, columns: int) -> str:
    """Return a text of at most this width, with an ellipsis where it was longer."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"


def wrapped(lines: Iterable[str], columns: int | None) -> Iterator[str]:
    """Yield lines that are too long in parts, the further ones indented more; words stay whole. None: as they are."""
    for line in lines:
        if columns is None or width(line) <= columns:
            yield line
            continue
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        yield from textwrap.wrap(
            line,
            columns,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )


def columns_of(stream: TextIO) -> int | None:
    """Return the width that lines of a stream may have: of COLUMNS, or else of its terminal; None for other files."""
    try:
        found = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        try:
            found = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            found = 0
    return max(_NARROWEST, found) if found > 0 else None


def _shorten(cells: list[list[str]], index: int, columns: int, kept: Sequence[int], least: int) -> None:
    excess = _total(cells, kept) - columns
    if excess > 0 and index in kept:
        target = max(least, max(width(row[index]) for row in cells) - excess)
        for row in cells:
            row[index] = cut(row[index], target)


def _total(cells: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    return sum(max(width(row[index]) for row in cells) for index in kept) + 2 * (len(kept) - 1)
