"""One value of the status document to the few characters that a table cell has for it.

Pure. The unknown is always `-`, never 0. Every state is a glyph and its word, so that nothing depends on
colour.
"""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "-"

GLYPHS = {
    "ready": "●",
    "starting": "◐",
    "waiting": "◌",
    "unhealthy": "▲",
    "backoff": "↻",
    "failed": "✖",
    "stopping": "■",
    "stopped": "○",
}
ASCII_GLYPHS = {
    "ready": "[ok]",
    "starting": "[..]",
    "waiting": "[wait]",
    "unhealthy": "[!!]",
    "backoff": "[retry]",
    "failed": "[FAIL]",
    "stopping": "[off]",
    "stopped": "[off]",
}
COLORS = {
    "ready": "green",
    "starting": "cyan",
    "waiting": "blue",
    "unhealthy": "yellow",
    "backoff": "yellow",
    "failed": "red",
    "stopping": "magenta",
    "stopped": "bright_black",
}
# From the one that needs a person most to the one that needs none.
SEVERITY = ("failed", "unhealthy", "backoff", "starting", "waiting", "stopping", "ready", "stopped")

_SPARKS = "▁▂▃▄▅▆▇█"
_ASCII_SPARKS = "_.-=*#"


def glyph(state: str, *, ascii_only: bool = False) -> str:
    """The mark of a state of launcher.md section 1; `?` for a state that this version does not know."""
    return (ASCII_GLYPHS if ascii_only else GLYPHS).get(state, "?")


def severity(state: str) -> int:
    """How urgently a state needs a person; 0 is the worst."""
    return SEVERITY.index(state) if state in SEVERITY else 0


def duration(seconds: float | None) -> str:
    """`0.4s`, `6s`, `4m10s`, `3h12m`, `2d4h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{max(seconds, 0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def size(count: float | None) -> str:
    """Bytes as `512B`, `340M`, `1.3G` (powers of 1024)."""
    if count is None:
        return UNKNOWN
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < 1000 or unit == "G":
            return f"{value:.1f}{unit}" if unit == "G" and value < 100 else f"{value:.0f}{unit}"
        value /= 1024
    return UNKNOWN


def number(value: float | None) -> str:
    """A count or rate in at most five characters: `0`, `0.4`, `12`, `533`, `12k`."""
    if value is None:
        return UNKNOWN
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value == int(value) or value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """A latency: `1.8`, `62`, `4.1s` from ten seconds on."""
    if value is None:
        return UNKNOWN
    if value >= 10_000:
        return f"{value / 1000:.1f}s"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def percent(fraction: float | None) -> str:
    """A progress of 0…1 as ` 62%`, or nothing when it is not known."""
    return "" if fraction is None else f" {min(max(fraction, 0.0), 1.0) * 100:.0f}%"


def state_words(child: Mapping[str, Any]) -> str:
    """The state with what a person asks next: the phase, the percentage, the seconds left."""
    state = str(child.get("state", "unknown"))
    if state == "starting":
        phase = f" {child['phase']}" if child.get("phase") else ""
        return f"starting{phase}{percent(child.get('progress'))}"
    if state == "waiting":
        awaited = child.get("waiting_for")
        return f"waiting for {', '.join(awaited)}" if isinstance(awaited, list) and awaited else "waiting"
    if state == "backoff" and child.get("next_retry_s") is not None:
        return f"backoff, {max(child['next_retry_s'], 0):.0f} s"
    if state == "unhealthy":
        failures = (child.get("health") or {}).get("failures")
        return f"unhealthy, {failures} probes" if failures else "unhealthy"
    return state


def sparkline(
    values: Sequence[float | None], width: int, *, full: float | None = None, ascii_only: bool = False
) -> str:
    """The last `width` values as bars, `full` (else the largest one) at full height; a quiet line when all
    are
    0, a blank for what is unknown.
    """
    shown = values[-width:] if width > 0 else []
    steps = _ASCII_SPARKS if ascii_only else _SPARKS
    top = full or max((value for value in shown if value is not None), default=0.0)
    last = len(steps) - 1 if top > 0 else 0
    shares = (None if value is None else min(max(value, 0.0) / (top or 1.0), 1.0) for value in shown)
    return "".join(" " if share is None else steps[round(share * last)] for share in shares)


def bar(fraction: float, width: int, *, ascii_only: bool = False) -> str:
    """A progress bar of `width` cells."""
    full = round(min(max(fraction, 0.0), 1.0) * width)
    on, off = ("#", ".") if ascii_only else ("█", "░")
    return on * full + off * (width - full)
