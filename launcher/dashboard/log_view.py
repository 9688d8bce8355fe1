"""The lower half of the dashboard: the merged log with its title, its filter box and its keys."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from launcher.dashboard.log_pane import LogPane
from launcher.dashboard.log_ring import LogRing
from launcher.dashboard.painted import Painted
from launcher.dashboard.view import log_title
from launcher.logs.follower import Follower
from launcher.logs.reader import read_last
from launcher.logs.records import LogFilter

BACKFILL_LINES = 2_000
LOG_INTERVAL_S = 0.4
# More than this per service and interval cannot be read by a person; it is skipped and counted.
LOG_LIMIT_BYTES = 128 * 1024
NO_ROOM = "no room for the log (40x10)"


class FilterInput(Input):
    """The filter box; Escape clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_filter", show=False)]

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self.value = ""
        self.post_message(self.Submitted(self, ""))


class LogView(Vertical):
    """Reads the log files at a pace that a person can follow; `selected` names the service for `enter`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter"),
        Binding("e", "errors"),
        Binding("enter", "solo"),
        Binding("f,end", "follow"),
        Binding("pageup", "scroll_lines(-10)"),
        Binding("pagedown", "scroll_lines(10)"),
        Binding("home", "scroll_lines(-1000000)"),
        Binding("left", "scroll_side(-1)"),
        Binding("right", "scroll_side(1)"),
        Binding("escape", "clear"),
    ]

    def __init__(self, folder: Path, selected: Callable[[], str | None]) -> None:
        super().__init__(id="log-view")
        self.ring = LogRing()
        self._folder = folder
        self._selected = selected
        self._problem: str | None = None
        self._pane = LogPane(self.ring)
        self._title = Painted(self._paint_title, "log-title")
        self._filter = FilterInput(placeholder="regular expression", compact=True, id="filter")
        self._head = Horizontal(self._title, self._filter, id="log-head")

    def compose(self) -> ComposeResult:
        """Title and filter box in one line, the log under it."""
        yield self._head
        yield self._pane

    def on_mount(self) -> None:
        """Start to read."""
        self.run_worker(self._read(), name="log files")
        self._pane.focus()

    def show_pane(self, is_shown: bool) -> None:
        """Show the log, or only a note when there is no room for it."""
        if self._pane.display != is_shown:
            self._pane.display = is_shown
            if is_shown:
                self._pane.focus()
        self._title.refresh()

    async def _read(self) -> None:
        """Fill the pane with the past, then add what comes."""
        follower = Follower(self._folder, ())
        try:
            ends = follower.ends()
            past = await asyncio.to_thread(read_last, self._folder, (), LogFilter(), BACKFILL_LINES, ends)
            self._pane.add(past)
            while True:
                # Files cannot be waited for; this is the rate at which the screen changes anyway.
                await asyncio.sleep(LOG_INTERVAL_S)
                self._pane.add(await asyncio.to_thread(follower.poll, LOG_LIMIT_BYTES, keep_up=True))
        finally:
            follower.close()

    def _paint_title(self, width: int, height: int) -> Text:
        """The pane's title, or why there is no pane."""
        if not self._pane.display:
            return Text(NO_ROOM, style="dim", no_wrap=True, overflow="crop")
        following, new = self._pane.is_following, self._pane.new_count
        return log_title(self.ring, new, width, following=following, problem=self._problem)

    def on_log_pane_changed(self) -> None:
        """Redraw the title."""
        self._title.refresh()

    def action_filter(self) -> None:
        """Open the filter box."""
        self._head.add_class("filtering")
        self._filter.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed; half a regular expression keeps the last good one."""
        try:
            self.ring.set_pattern(event.value)
            self._problem = None
        except re.error as error:
            self._problem = f"not a regular expression: {error}"
        self._pane.follow()

    def on_input_submitted(self) -> None:
        """Close the box; the filter stays."""
        self._head.remove_class("filtering")
        self._pane.focus()

    def action_errors(self) -> None:
        """Only errors, or everything again."""
        self.ring.set_errors_only(not self.ring.errors_only)
        self._pane.follow()

    def action_solo(self) -> None:
        """Only the selected service's log, or all again."""
        self.ring.set_solo(self._selected() if self.ring.solo is None else None)
        self._pane.follow()

    def action_clear(self) -> None:
        """Drop every filter."""
        self._filter.value = ""
        self.ring.set_solo(None)
        self.ring.set_errors_only(False)
        self._pane.follow()

    def action_follow(self) -> None:
        """Go to the newest line and stay there."""
        self._pane.follow()

    def action_scroll_lines(self, count: int) -> None:
        """Scroll the log."""
        self._pane.scroll_lines(count)

    def action_scroll_side(self, steps: int) -> None:
        """Scroll the log sideways."""
        self._pane.scroll_side(steps)
