"""State changes as lines of text, for places without a movable cursor.

Phases of a start are told at most every PHASE_INTERVAL_S seconds or PHASE_STEP of progress, so that a slow
load
does not flood a log. Pure: the time comes from the document and the event.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from launcher.logs.records import local_time
from launcher.terminal import cells
from launcher.terminal.sanitize import clean

PHASE_INTERVAL_S = 5.0
PHASE_STEP = 0.1
# A state change tells these already.
UNTOLD_PHASES = (None, "spawn", "ready")


def event_line(event: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """`2026-11-23 14:02:20 ● inference ready: a sentence`."""
    state = str(event.get("to", "?"))
    name = clean(str(event.get("child") or event.get("service") or "?"))
    detail = clean(str(event.get("detail") or event.get("reason") or ""))
    mark = cells.glyph(state, ascii_only=ascii_only)
    head = f"{event_time(event)} {mark} {name} {state}"
    return f"{head}: {detail}" if detail else head


def event_time(event: Mapping[str, Any]) -> str:
    """The event's moment in local time."""
    at = str(event.get("at", ""))
    shown = local_time(at, "%Y-%m-%d %H:%M:%S")
    return clean(at) if shown == "-" else shown


class EventLines:
    """A progress display for files and pipes: one line per state change or notable step of a start."""

    def __init__(self, write: Callable[[str], None], *, ascii_only: bool = False) -> None:
        self._write = write
        self._ascii_only = ascii_only
        self._told: dict[str, tuple[str, float, datetime]] = {}

    def snapshot(self, document: Mapping[str, Any]) -> None:
        """Tell the phase of every child that is starting, if it moved far enough."""
        at = datetime.fromisoformat(document["at"])
        for service in document["services"].values():
            for child in service.get("children") or []:
                if child["state"] == "starting" and child.get("phase") not in UNTOLD_PHASES:
                    self._phase(child, at)

    def event(self, event: Mapping[str, Any]) -> None:
        """Tell a state change."""
        self._write(event_line(event, ascii_only=self._ascii_only))

    def close(self) -> None:
        """Nothing is open."""

    def _phase(self, child: Mapping[str, Any], at: datetime) -> None:
        """Tell one child's phase when it is new, moved by PHASE_STEP, or PHASE_INTERVAL_S have passed."""
        name, phase, progress = child["name"], str(child["phase"]), child.get("progress") or 0.0
        before = self._told.get(name)
        if before is not None and before[0] == phase:
            is_old = (at - before[2]).total_seconds() >= PHASE_INTERVAL_S
            if progress - before[1] < PHASE_STEP and not (is_old and progress > before[1]):
                return
        self._told[name] = (phase, progress, at)
        stamp = at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        mark = cells.glyph("starting", ascii_only=self._ascii_only)
        self._write(f"{stamp} {mark} {clean(name)} {clean(cells.state_words(child))}")
