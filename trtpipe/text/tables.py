"""Plain tables with columns aligned by spaces, readable in a log and easy to `grep`."""

from __future__ import annotations

from collections.abc import Sequence


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, each column as wide as its widest cell; the last column is not padded."""
    rows = [[one_line(text) for text in row] for row in rows]
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    return "\n".join(_line(row, widths) for row in (header, *rows))


def one_line(text: str) -> str:
    """The text on one line, with unprintable characters escaped: a model's tensors may have any name."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)]
    return "  ".join([*padded, row[-1]]).rstrip()
