"""Columns of plain text: how wide a terminal shows a text, which is not how many characters it has. Pure."""

from collections.abc import Sequence


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    # It costs more than `--help` may take.
    from rich.cells import cell_len

    return cell_len(text)


def left(text: str, columns: int) -> str:
    """Return a text with blanks after it, so that it takes at least so many columns."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    """Return a text with blanks before it, so that it takes at least so many columns."""
    return " " * (columns - width(text)) + text


def aligned(rows: Sequence[Sequence[str]], *, texts: int) -> list[str]:
    """Return rows of cells as lines: the first `texts` columns to the left, the others, amounts, to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    pads = [left if index < texts else right for index in range(len(widths))]
    return [
        "  ".join(pad(cell, columns) for pad, cell, columns in zip(pads, row, widths, strict=True)).rstrip()
        for row in rows
    ]
