"""What the keys of a log do, by name: one function each, on whatever has a ring, a pane and a look of lines.

Knows the ring's filters and the looks of lines; which key is which action is in `keys`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from textual.screen import Screen

from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_pane import LogPane
from launcher.dashboard.log_ring import LogRing
from launcher.logs.levels import LEVELS
from launcher.logs.records import MARKER_STREAM, LogLine, stamp

__all__ = ["ACTIONS", "Log"]

# Terminals take no more than this by OSC 52 (xterm: 100,000 characters of base64).
MOST_COPIED_BYTES = 70_000
PAGE_LINES = 10
_ALL_THE_WAY = 1_000_000
_LEVEL_STEPS = (0, *sorted(LEVELS.values())[1:])


class Log(Protocol):
    """A log on the screen, as far as its keys are concerned."""

    noun: str
    save_folder: Path
    ring: LogRing
    pane: LogPane
    style_of_lines: LineStyle

    @property
    def screen(self) -> Screen[Any]:
        """Where the mouse marks text."""

    def open_filter(self) -> None:
        """Let a filter be typed."""

    def clear_filters(self) -> None:
        """Show everything again."""

    def refiltered(self) -> None:
        """The ring's filters have changed."""

    def notify(
        self, message: str, *, severity: Any = ..., timeout: float | None = ..., markup: bool = ...
    ) -> None:
        """Tell the user something for a moment."""


def _errors(log: Log) -> None:
    """Only errors, or everything again."""
    log.ring.set_errors_only(not log.ring.errors_only)
    log.refiltered()


def _level(log: Log) -> None:
    """The next least level: all, from info, from warning, errors."""
    position = _LEVEL_STEPS.index(log.ring.least_level)
    log.ring.set_level(_LEVEL_STEPS[(position + 1) % len(_LEVEL_STEPS)])
    log.refiltered()


def _time(log: Log) -> None:
    """The next form of the time."""
    log.style_of_lines.next_time_form()
    log.pane.restyle()


def _wrap(log: Log) -> None:
    """Long lines on several rows, or cut."""
    log.style_of_lines.is_wrapped = not log.style_of_lines.is_wrapped
    log.pane.restyle()


def _pretty(log: Log) -> None:
    """JSON on several rows, or as it came."""
    log.style_of_lines.is_pretty = not log.style_of_lines.is_pretty
    log.pane.restyle()


def _mark(log: Log) -> None:
    """A rule at the end of the log, to find this moment again."""
    now = datetime.now().astimezone()
    log.pane.add([LogLine("mark", stamp(now), MARKER_STREAM, f"{now:%H:%M:%S}")])


def _copy(log: Log) -> None:
    """Hand what the mouse has marked, or else what is on the screen, to the terminal's clipboard."""
    marked = log.screen.get_selected_text()
    text = marked or "\n".join(log.pane.texts_on_screen())
    kept = text.encode()[-MOST_COPIED_BYTES:].decode(errors="ignore")
    log.screen.app.copy_to_clipboard(kept)
    count = len(kept.splitlines())
    cut = ", the end of what was marked" if len(kept) < len(text) else ""
    log.notify(f"copied {count} line{'s' * (count != 1)}{cut}", timeout=3, markup=False)


def _save(log: Log) -> None:
    """Write every line that the filters let through to a file, and say where."""
    path = log.save_folder / f"{datetime.now():%Y%m%d-%H%M%S}-{log.noun}.txt"
    rows = (f"{line.at or '-'} {line.child} {line.stream} | {line.text}\n" for line in log.ring.shown)
    try:
        log.save_folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rows), encoding="utf-8")
    except OSError as error:
        log.notify(f"could not write {path}: {error.strerror}", severity="error", markup=False)
    else:
        log.notify(f"{len(log.ring.shown)} lines in {path}", markup=False)


ACTIONS: Mapping[str, Callable[[Log], None]] = {
    "filter": lambda log: log.open_filter(),
    "clear": lambda log: log.clear_filters(),
    "errors": _errors,
    "level": _level,
    "time": _time,
    "wrap": _wrap,
    "pretty": _pretty,
    "mark": _mark,
    "copy": _copy,
    "save": _save,
    "follow": lambda log: log.pane.follow(),
    "page_up": lambda log: log.pane.scroll_lines(-PAGE_LINES),
    "page_down": lambda log: log.pane.scroll_lines(PAGE_LINES),
    "top": lambda log: log.pane.scroll_lines(-_ALL_THE_WAY),
    "left": lambda log: log.pane.scroll_side(-1),
    "right": lambda log: log.pane.scroll_side(1),
}
