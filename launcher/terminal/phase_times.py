"""How long each phase of a start took, as far as the snapshots that came by tell.

Pure. A phase lasts from the first snapshot that shows it to the first that shows the next one.
"""

from collections.abc import Mapping
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

    def text(self) -> str:
        """`ready in 9.4 s   import 2.1 · load-model 1.3`; empty before it is ready, or when it was before."""
        if self._ready_s is None or not self._began:
            return ""
        ends = [start for _, start in self._began[1:]] + [self._ready_s]
        took = [(clean(phase), end - start) for (phase, start), end in zip(self._began, ends, strict=True)]
        told = " · ".join(f"{phase} {seconds:.1f}" for phase, seconds in took if seconds >= _LEAST_S)
        return f"ready in {self._ready_s:.1f} s   {told}".rstrip()
