"""What the dashboard shows, as text for each of its parts: the last snapshot, the selection, the short
history.

Pure: snapshots and link states in, text out. Knows nothing of the screen library, sockets or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from launcher.dashboard.columns import SPARK_SAMPLES, table_lines
from launcher.dashboard.log_ring import LogRing
from launcher.dashboard.top_line import top_line
from launcher.terminal.reasons import has_reason, headline
from launcher.terminal.rows import Row, not_ready, rows_of
from launcher.terminal.sanitize import clean

KEYS = (
    ("q", "detach"),
    ("^c", "stop?"),
    ("r", "restart"),
    ("s", "stop/start"),
    ("/", "filter"),
    ("e", "errors"),
    ("enter", "solo"),
    ("f", "follow"),
    ("?", "help"),
    ("R", "restart all"),
)


@dataclass
class View:
    """The state behind the screen; `link` is None while connected, else a sentence about the connection."""

    document: Mapping[str, Any] | None = None
    link: str | None = "connecting"
    selected: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    _sampled_at: str = ""

    def take(self, document: Mapping[str, Any]) -> None:
        """A new snapshot: remember it, and once a second the request rates for the sparklines."""
        self.document = document
        self.link = None
        self.move(0)
        second = str(document.get("at", ""))[:19]
        if second == self._sampled_at:
            return
        self._sampled_at = second
        for row in self.rows():
            samples = self.history.setdefault(row.child, [])
            samples.append(row.per_second or 0.0)
            del samples[:-SPARK_SAMPLES]

    def move(self, step: int) -> None:
        """Move the selection, within the rows."""
        self.selected = max(0, min(self.selected + step, len(self.rows()) - 1))

    def rows(self) -> list[Row]:
        """The rows of the last snapshot."""
        return [] if self.document is None else rows_of(self.document)

    def selected_row(self) -> Row | None:
        """The row that actions are about; None before the first snapshot."""
        rows = self.rows()
        return rows[self.selected] if rows else None

    def top(self, width: int, height: int) -> Text:
        """The first line."""
        return top_line(self.document, self.link, width)

    def table(self, width: int, height: int) -> Text:
        """The header and as many rows around the selected one as fit."""
        if self.document is None:
            return Text(f"  {self.link}", style="dim", no_wrap=True, overflow="crop")
        header, *lines = table_lines(self.rows(), width, self.selected, self.history)
        visible = max(1, height - 1)
        first = max(0, min(self.selected - visible // 2, len(lines) - visible))
        text = Text("\n", no_wrap=True, overflow="crop").join([header, *lines[first : first + visible]])
        if self.link is not None:
            text.stylize("dim")
        return text

    def reason(self, width: int, height: int) -> Text:
        """Why the selected service, or else the first that is not ready, is not: one line and its last
        words.
        """
        child = self._child_in_trouble()
        if child is None:
            return Text("")
        tail = (child.get("last_exit") or {}).get("stderr_tail") or []
        last_words = f"  │ {clean(str(tail[-1]))}" if tail else ""
        text = f" {clean(str(child['name']))}: {headline(child)}{last_words}"
        return Text(text, style="yellow", no_wrap=True, overflow="ellipsis")

    def has_reason(self) -> bool:
        """Whether `reason` has something to say."""
        return self._child_in_trouble() is not None

    def _child_in_trouble(self) -> Mapping[str, Any] | None:
        """The child that the reason line is about."""
        if self.document is None:
            return None
        troubled = [child for child in not_ready(self.document) if has_reason(child)]
        row = self.selected_row()
        chosen = [child for child in troubled if row is not None and child["name"] == row.child]
        return next(iter(chosen or troubled), None)


def log_title(ring: LogRing, new_count: int, width: int, *, following: bool, problem: str | None) -> Text:
    """`─ logs: all · /timeout/ 14 of 2310 ──── following ▼ ─`."""
    scope = clean(ring.solo) if ring.solo is not None else "all"
    parts = [f"logs: {scope}"]
    if ring.errors_only:
        parts.append("errors only")
    if ring.pattern_text:
        parts.append(f"/{clean(ring.pattern_text)}/")
    if problem is not None:
        parts.append(problem)
    filtered = ring.errors_only or ring.pattern_text or ring.solo is not None
    parts.append(f"{len(ring.shown)} of {len(ring)}" if filtered else f"{len(ring)} lines")
    left = "─ " + " · ".join(parts) + " "
    right = " following ▼ ─" if following else f" paused · ▼ {new_count} new (f follows) ─"
    room = max(1, width - len(left) - len(right))
    return Text(
        left + "─" * room + right, style="bold" if not following else "", no_wrap=True, overflow="crop"
    )


def key_line(width: int) -> Text:
    """The keys, as many as fit."""
    text = Text(" ", no_wrap=True, overflow="crop")
    for key, word in KEYS:
        if len(text) + len(key) + len(word) + 3 > width:
            break
        text.append(key, style="bold reverse").append(f" {word}  ")
    return text
