"""The table of services as a part of the screen: drawn by the view, selected with the mouse."""

from collections.abc import Callable

from textual.events import Click

from launcher.dashboard.painted import Painted
from launcher.dashboard.view import View

__all__ = ["Table"]


class Table(Painted):
    """A row for each child; a click selects one, and `on_change` is told."""

    def __init__(self, view: View, on_change: Callable[[], None]) -> None:
        super().__init__(view.table, "table")
        self._view = view
        self._on_change = on_change

    def on_click(self, event: Click) -> None:
        """Select the row under the mouse."""
        self._view.select_line(event.y, self.size.height)
        self._on_change()
