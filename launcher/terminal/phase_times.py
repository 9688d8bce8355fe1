"""How long each phase of a start took, as far as the snapshots that came by tell.

Pure. A phase lasts from the first snapshot that shows it to the first that shows the next one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.terminal.sanitize import clean

__all__ = ["PhaseTimes"]

# Shorter than this says nothing to a person.
_LEAST_S = 0.05


class PhaseTimes:
    """The phases of one child's start; `take` sees every snapshot of it."""

    def __init__(self) -> None:
        self._generation: object = None
        self._began: list[tuple[str, float]] = []
        self._ready_s: float | None = None

    def take(self, child: Mapping[str, Any]) -> None:
        """Remember when this snapshot's phase was seen first; a new generation begins anew."""
        uptime_s = child.get("uptime_s")
        if uptime_s is None:
            return
        if child.get("generation") != self._generation:
            self._generation, self._began, self._ready_s = child.get("generation"), [], None
        if child["state"] == "starting":
            phase = str(child.get("phase") or "start")
            if not self._began or self._began[-1][0] != phase:
                self._began.append((phase, uptime_s if self._began else 0.0))
        elif child["state"] == "ready" and self._ready_s is None:
            self._ready_s = uptime_s

    @property
    def was_watched(self) -> bool:
        """Whether any of the start came by: else nothing is known of how long it took."""
        return bool(self._began)

    def text(self, room: int | None = None) -> str:
        """`ready in 9.4 s   import 2.1 · load-model 1.3`; empty before it is ready, or when it was before.

        At most `room` cells: the longest phases are told then, and an ellipsis stands for the others.
        """
        if self._ready_s is None or not self._began:
            return ""
        took = self._took(self._ready_s)
        head = f"ready in {self._ready_s:.1f} s   "
        for count in range(len(took), -1, -1):
            told = _told(took, count)
            if room is None or len(head) + len(told) <= room:
                return f"{head}{told}".rstrip()
        return head.rstrip()

    def _took(self, ready_s: float) -> list[tuple[str, float]]:
        """The phases that are worth telling, with their seconds."""
        ends = [start for _, start in self._began[1:]] + [ready_s]
        took = [(clean(phase), end - start) for (phase, start), end in zip(self._began, ends, strict=True)]
        return [(phase, seconds) for phase, seconds in took if seconds >= _LEAST_S]


def _told(took: Sequence[tuple[str, float]], count: int) -> str:
    """The `count` longest phases, in the order in which they happened; empty for none."""
    longest = sorted(took, key=lambda each: each[1], reverse=True)[:count]
    parts = [f"{phase} {seconds:.1f}" for phase, seconds in took if (phase, seconds) in longest]
    return " · ".join([*parts, *(["…"] if count < len(took) else [])]) if parts else ""
