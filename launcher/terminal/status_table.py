"""The table of `status` as lines of text, with click's styles for colour.

Pure but for those styles. Not drawn by a table library: importing one costs as long as the rest of `status`.
"""

import unicodedata
from collections.abc import Sequence

import click

from launcher.terminal import cells
from launcher.terminal.rows import Row

_FIRST = ("SERVICE", "STATE", "UPTIME", "RST", "ADDRESS", "GPU", "CPU%", "RSS")
LAYOUTS = (
    (*_FIRST, "VRAM", "REQ/S", "P50/P99 MS", "QUEUE", "HEALTH"),
    (*_FIRST, "REQ/S", "P99"),
    ("SERVICE", "STATE", "PORT", "GPU", "P99"),
    ("SERVICE", "STATE", "P99"),
)
LEFT_ALIGNED = frozenset({"SERVICE", "STATE", "ADDRESS", "GPU"})
GAP = "  "


def table_lines(rows: Sequence[Row], width: int | None) -> list[str]:
    """A header and one line per row, with the most columns that fit into `width` cells (None: all of them).

    When even the fewest do not fit, lines end with `…` at the right edge.
    """
    for columns in LAYOUTS:
        widths = _widths(rows, columns)
        if width is None or sum(widths) + len(GAP) * (len(widths) - 1) <= width:
            break
    header = GAP.join(_pad(column, size, column) for column, size in zip(columns, widths, strict=True))
    lines = [click.style(_cut(header.rstrip(), width), bold=True)]
    return lines + [_line(row, columns, widths, width) for row in rows]


def _line(row: Row, columns: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    """One row; styled only when it is not cut, so that no style is cut in half."""
    padded = [_pad(row.cells[column], size, column) for column, size in zip(columns, widths, strict=True)]
    plain = GAP.join(padded).rstrip()
    if _cut(plain, width) != plain:
        return _cut(plain, width)
    styled = (_style(row, column, text) for column, text in zip(columns, padded, strict=True))
    return GAP.join(styled).rstrip()


def _style(row: Row, column: str, text: str) -> str:
    """The state in its colour, old and unknown figures dimmed, a fallback port in yellow."""
    if column == "STATE":
        return click.style(text, fg=cells.COLORS.get(row.state))
    if column == "SERVICE":
        return click.style(text, bold=True)
    if column in ("PORT", "ADDRESS") and row.cells[column].endswith("!"):
        return click.style(text, fg="yellow")
    return click.style(text, dim=True) if row.is_stale or row.cells[column] == cells.UNKNOWN else text


def _widths(rows: Sequence[Row], columns: Sequence[str]) -> list[int]:
    """The cells that each column needs."""
    return [max(len(column), *(text_width(row.cells[column]) for row in rows), 0) for column in columns]


def text_width(text: str) -> int:
    """The terminal cells that `text` takes: wide characters count two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pad(text: str, size: int, column: str) -> str:
    """`text` in a cell of its column."""
    blank = " " * (size - text_width(text))
    return text + blank if column in LEFT_ALIGNED else blank + text


def _cut(text: str, width: int | None) -> str:
    """`text` on one line of `width` cells."""
    return text if width is None or text_width(text) <= width else text[: max(width - 1, 0)] + "…"
