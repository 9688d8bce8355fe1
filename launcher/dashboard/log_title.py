"""The line above a log: what is shown of it, and whether it follows.

Pure.
"""

from typing import Protocol

from rich.text import Text

from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_ring import LogRing
from launcher.logs.levels import LEVEL_NAMES
from launcher.terminal.sanitize import clean

__all__ = ["NO_ROOM", "log_title"]

NO_ROOM = "no room for the log (40x10)"


class Following(Protocol):
    """Whether the pane follows the end, and how much is new since it stopped."""

    is_following: bool
    new_count: int


def log_title(
    ring: LogRing, style: LineStyle, pane: Following, width: int, *, noun: str, problem: str | None
) -> Text:
    """`─ logs: all · from warning · /timeout/ 14 of 2,310 ──── following ▼ ─` in `width` cells."""
    rule, down, dot = ("-", "v", "-") if style.ascii_only else ("─", "▼", "·")
    left = f"{rule} " + f" {dot} ".join(_parts(ring, style, noun, problem)) + " "
    right = f" following {down} {rule}"
    if not pane.is_following:
        right = f" paused {dot} {down} {pane.new_count:,} new (f follows) {rule}"
    text = Text(left, no_wrap=True, overflow="crop")
    text.truncate(max(1, width - len(right)))
    text.append(rule * max(0, width - len(text) - len(right)) + right)
    text.stylize("" if pane.is_following else "bold yellow")
    return text


def _parts(ring: LogRing, style: LineStyle, noun: str, problem: str | None) -> list[str]:
    """What is shown, filter by filter, and how much that is."""
    parts = [f"{noun}: {clean(ring.solo) if ring.solo is not None else 'all'}"]
    if problem is not None:
        parts.append(problem)
    if ring.least_level:
        parts.append(f"from {LEVEL_NAMES[ring.least_level]}")
    if ring.errors_only:
        parts.append("errors only")
    if ring.pattern_text:
        parts.append(f"/{clean(ring.pattern_text)}/")
    parts.append(_count(ring))
    parts += ["wrap"] * style.is_wrapped + ["pretty"] * style.is_pretty
    return parts


def _count(ring: LogRing) -> str:
    """How many lines are shown, and of how many: of those at hand, or of all that the files hold."""
    if ring.is_searched:
        return f"{len(ring.shown):,} found"
    return f"{len(ring.shown):,} of {len(ring):,}" if ring.is_filtered else f"{len(ring):,} lines"
