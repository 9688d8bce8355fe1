"""What the dashboard shows, as text for each of its parts: the last snapshot, the selection, the choices
made.

Pure: snapshots and link states in, text out. Knows nothing of the screen library, sockets or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from launcher.dashboard.columns import TableLook, in_order, sortable_columns, table_lines
from launcher.dashboard.gpu_lines import gpu_lines
from launcher.dashboard.history import History
from launcher.dashboard.painted import stacked
from launcher.dashboard.top_line import CONNECTING, top_line
from launcher.dashboard.trouble import child_in_trouble, trouble_line
from launcher.terminal.rows import Row, rows_of

MOST_GPU_LINES = 8


@dataclass
class View:
    """The state behind the screen; `link` is None while connected, else a sentence about the connection.

    `selected` and `solo` are names of children; `solo` is None while all services are shown.
    """

    ascii_only: bool = False
    has_color: bool = True
    document: Mapping[str, Any] | None = None
    link: str | None = CONNECTING
    selected: str | None = None
    solo: str | None = None
    sort: str | None = None
    shows_gpus: bool = True
    history: History = field(default_factory=History)

    def take(self, document: Mapping[str, Any]) -> None:
        """A new snapshot: remember it, and its figures for the sparklines."""
        self.document = document
        self.link = None
        self.history.take(document)
        self.move(0)

    def move(self, step: int) -> None:
        """Move the selection, within the rows; one whose child has gone goes to the first row."""
        names = [row.child for row in self.rows()]
        if not names:
            self.selected = None
            return
        position = names.index(self.selected) if self.selected in names else 0
        self.selected = names[max(0, min(position + step, len(names) - 1))]

    def select_line(self, line: int, height: int) -> None:
        """Select what stands at a line of the table, counted from its header, where it is `height` high."""
        rows = self.rows()
        position = line - 1 + self._first_row(len(rows), height)
        if 0 <= position < len(rows) and line > 0:
            self.selected = rows[position].child

    def turn_sort(self, step: int, width: int) -> None:
        """Sort by the next column that is shown, or by the one before."""
        columns = sortable_columns(self._rows_of_file(), width)
        position = columns.index(self.sort) if self.sort in columns else 0
        self.sort = columns[(position + step) % len(columns)]

    def rows(self) -> list[Row]:
        """The rows of the last snapshot, as they are sorted."""
        return in_order(self._rows_of_file(), self.sort)

    def selected_row(self) -> Row | None:
        """The row that actions are about; None before the first snapshot."""
        return next((row for row in self.rows() if row.child == self.selected), None)

    def top(self, width: int, height: int) -> Text:
        """The first line."""
        has_gpu_lines = self.shows_gpus and width >= 60
        return top_line(
            self.document, self.link, width, with_gpus=not has_gpu_lines, ascii_only=self.ascii_only
        )

    def gpus(self, width: int, height: int) -> Text:
        """A line for each GPU."""
        if self.document is None:
            return Text("")
        lines = gpu_lines(self.document, self.history, width, ascii_only=self.ascii_only)
        return stacked(lines[:height], width)

    def gpu_height(self) -> int:
        """How many lines the GPUs want."""
        if self.document is None or not self.shows_gpus:
            return 0
        return min(MOST_GPU_LINES, sum(bool(gpu.get("uuid")) for gpu in self.document.get("gpus") or []))

    def table(self, width: int, height: int) -> Text:
        """The header and as many rows around the selected one as fit."""
        if self.document is None:
            return Text(f"  {self.link}", style="dim", no_wrap=True, overflow="crop")
        rows = self.rows()
        selected = next((at for at, row in enumerate(rows) if row.child == self.selected), 0)
        look = TableLook(self.sort, self.ascii_only, self.has_color)
        header, *lines = table_lines(rows, width, selected, self._request_rates, look)
        first = self._first_row(len(lines), height)
        visible = lines[first : first + max(1, height - 1)]
        text = stacked([header, *visible], width)
        if self.link is not None:
            text.stylize("dim")
        return text

    def trouble(self, width: int, height: int) -> Text:
        """Why the selected service, or else the first that is not ready, is not."""
        return trouble_line(child_in_trouble(self.document, self.selected), ascii_only=self.ascii_only)

    def has_trouble(self) -> bool:
        """Whether `trouble` has something to say."""
        return child_in_trouble(self.document, self.selected) is not None

    def _rows_of_file(self) -> list[Row]:
        return [] if self.document is None else rows_of(self.document, ascii_only=self.ascii_only)

    def _request_rates(self, child: str) -> list[float | None]:
        return self.history.of(child, "per_second")[-60:]

    def _first_row(self, count: int, height: int) -> int:
        """The first of `count` rows that a table of `height` shows, so that the selected one is in it."""
        names = [row.child for row in self.rows()]
        selected = names.index(self.selected) if self.selected in names else 0
        visible = max(1, height - 1)
        return max(0, min(selected - visible // 2, count - visible))
