"""The rows that the shown lines of a ring take at a width, kept up to date as lines come and go.

Pure. Knows the ring and the look of lines; knows nothing of scrolling.
"""

from rich.text import Text

from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_ring import LogRing
from launcher.dashboard.log_rows import RowIndex

__all__ = ["LogLayout"]


class LogLayout:
    """Rows of a ring in a style; `lay_out` before anything else, and after every change of either."""

    def __init__(self, ring: LogRing, style: LineStyle) -> None:
        self._ring = ring
        self._style = style
        self._rows = RowIndex()
        self._width = 0
        self._laid_out: tuple[object, ...] = ()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def lay_out(self, width: int) -> None:
        """Make the rows those of the present filters, look and width; costs nothing when they are."""
        self._width = width
        now = self._inputs()
        if now != self._laid_out:
            self._rows = RowIndex(self._heights(0))
            self._laid_out = now

    def extend(self, added: int, dropped: int) -> int:
        """Follow the ring: `added` shown lines at the end, `dropped` at the start; returns the rows that
        went.
        """
        if self._laid_out != self._inputs():
            return 0
        gone = self._rows.drop(min(dropped, self._rows.lines))
        # Of a batch larger than the ring only the end is left.
        self._rows.append(self._heights(max(0, len(self._ring.shown) - added)))
        return gone

    def text(self, row: int) -> Text:
        """The row as styled text."""
        line, part = self._rows.locate(row)
        return self._style.text(self._ring.shown[line], part, self._width, self._ring.pattern)

    def line_at(self, row: int) -> int | None:
        """The position of the line at a row, of the last line below the end; None when there is none."""
        return self._rows.locate(min(row, len(self._rows) - 1))[0] if len(self._rows) else None

    def start(self, line: int) -> int:
        """The first row of a line, of the last one when there are fewer."""
        return self._rows.start(min(line, max(0, self._rows.lines - 1)))

    def _inputs(self) -> tuple[object, ...]:
        """What the rows depend on, besides lines being added."""
        style = self._style
        shape = (self._width, style.name_width, style.time_form) if style.is_wrapped else ()
        return (self._ring.epoch, style.is_wrapped, style.is_pretty, shape)

    def _heights(self, first: int) -> list[int]:
        """The heights of the shown lines from `first` on."""
        return [self._style.height(line, self._width) for line in self._ring.shown[first:]]
