"""What happened: every change of state that the supervisor remembers, as a log with the log's own keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from launcher.dashboard.log_view import LogView
from launcher.dashboard.painted import Painted
from launcher.logs.levels import ERROR, INFO, WARNING
from launcher.logs.records import LogLine
from launcher.terminal import cells

__all__ = ["Timeline", "event_log_line"]

KEYS = " esc  back    /  filter    e  trouble only    y  copy    S  save"
_LEVELS = {"failed": ERROR, "backoff": ERROR, "unhealthy": WARNING}


class Timeline(Screen[None]):
    """The events so far, and those that come; Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,v,q", "dismiss(None)")]

    def __init__(self, events: Sequence[Mapping[str, Any]], save_folder: Path, *, ascii_only: bool) -> None:
        super().__init__()
        self._events = events
        self._ascii_only = ascii_only
        self._log = LogView("events", save_folder, ascii_only=ascii_only, finds_levels=False)
        self._log.style_of_lines.time_form = "date"

    def compose(self) -> ComposeResult:
        """The log of events, and how to leave it."""
        yield self._log
        yield Painted(lambda width, height: Text(KEYS, no_wrap=True), "keys")

    def on_mount(self) -> None:
        """Show what has happened so far."""
        self.add(self._events)

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """More happened."""
        self._log.pane.add([event_log_line(event, ascii_only=self._ascii_only) for event in events])


def event_log_line(event: Mapping[str, Any], *, ascii_only: bool = False) -> LogLine:
    """An event as a line: the states, and the sentence about them."""
    before, after = str(event.get("from", "?")), str(event.get("to", "?"))
    arrow = "->" if ascii_only else "→"
    name = str(event.get("child") or event.get("service") or "?")
    detail = str(event.get("detail") or event.get("reason") or "")
    mark = cells.glyph(after, ascii_only=ascii_only)
    text = f"{mark} {f'{before} {arrow} {after}':<22} {detail}".rstrip()
    return LogLine(name, str(event.get("at", "")), "event", text, level=_LEVELS.get(after, INFO))
