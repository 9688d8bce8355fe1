"""A log with its title, its filter box and its keys; where the lines come from is the caller's matter."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from launcher.dashboard.keys import LOG_KEYS, bindings
from launcher.dashboard.log_actions import ACTIONS
from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_pane import LogPane
from launcher.dashboard.log_ring import LogRing
from launcher.dashboard.log_title import NO_ROOM, log_title
from launcher.dashboard.painted import Painted


class FilterInput(Input):
    """The filter box; Escape clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_filter", show=False)]

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self.value = ""
        self.post_message(self.Submitted(self, ""))


class LogView(Vertical, can_focus=True):
    """A ring of lines on the screen; `search` is asked for old matches whenever the filters have changed.

    It has the focus itself while there is no room for the pane, so that its keys never mean something else.
    `noun` names what the lines are, `save_folder` is where `S` writes to.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LOG_KEYS)

    def __init__(
        self,
        noun: str,
        save_folder: Path,
        *,
        ascii_only: bool = False,
        finds_levels: bool = True,
        search: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(classes="log-view")
        self.ring = LogRing(finds_levels=finds_levels)
        self.noun = noun
        self.save_folder = save_folder
        self.style_of_lines = LineStyle(ascii_only=ascii_only)
        self._search = search
        self._problem: str | None = None
        self.pane = LogPane(self.ring, self.style_of_lines)
        self._title = Painted(self._paint_title, "log-title")
        self._filter = FilterInput(placeholder="regular expression", compact=True, classes="filter")
        self._head = Horizontal(self._title, self._filter, classes="log-head")

    def compose(self) -> ComposeResult:
        """Title and filter box in one line, the log under it."""
        yield self._head
        yield self.pane

    def on_mount(self) -> None:
        """Take the keys."""
        self.pane.focus()

    def show_pane(self, is_shown: bool) -> None:
        """Show the log, or only a note when there is no room for it."""
        if self.pane.display != is_shown:
            self.pane.display = is_shown
            if not self._filter.has_focus:
                self._take_keys()
        self._title.refresh()

    def _take_keys(self) -> None:
        """Give the keys to the pane, or where it is not shown to the whole."""
        (self.pane if self.pane.display else self).focus()

    def show_only(self, name: str | None) -> None:
        """Show one service or child; None shows all."""
        self.ring.set_solo(name)
        self.refiltered()

    def say(self, problem: str | None) -> None:
        """A word in the title: what is wrong with the filter, or how far a search came."""
        self._problem = problem
        self._title.refresh()

    def _paint_title(self, width: int, height: int) -> Text:
        """The pane's title, or why there is no pane."""
        if not self.pane.display:
            return Text(NO_ROOM, style="dim", no_wrap=True, overflow="crop")
        return log_title(
            self.ring, self.style_of_lines, self.pane, width, noun=self.noun, problem=self._problem
        )

    def refiltered(self) -> None:
        """Show the end of the new view, and look further back for matches."""
        self.pane.follow()
        self._search()

    def on_log_pane_changed(self) -> None:
        """Redraw the title."""
        self._title.refresh()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed; half a regular expression keeps the last good one."""
        try:
            self.ring.set_pattern(event.value)
        except re.error as error:
            self.say(f"not a regular expression: {error}")
            return
        self.say(None)
        self.refiltered()

    def on_input_submitted(self) -> None:
        """Close the box; the filter stays."""
        self._head.remove_class("filtering")
        self._take_keys()

    def open_filter(self) -> None:
        """Let a regular expression be typed."""
        self._head.add_class("filtering")
        self._filter.focus()

    def clear_filters(self) -> None:
        """Show everything again."""
        self._filter.value = ""
        self.ring.clear_filters()
        self.refiltered()

    def action_log(self, name: str) -> None:
        """Do what a key of the log is for; see `log_actions`."""
        ACTIONS[name](self)
