"""Columns of plain text by their width on a terminal, which isn't the number of characters. Pure."""

from collections.abc import Sequence


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
