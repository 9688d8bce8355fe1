"""What is counted of one child over all its generations, and how that outlives the process that counts.

Decides when a child counts as down (from the moment it was ready and is not, as long as it is wanted) and
which end a restart is charged to. Does not know the names of metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.exposition import Histogram
from launcher.snapshot import EventDocument

__all__ = ["Tally", "recall_histogram", "remember_histogram"]

_READY_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_RUNNING = frozenset({"starting", "ready", "unhealthy"})


@dataclass
class Tally:
    """What is counted of one child; moments are seconds of the machine's monotonic clock."""

    service: str
    restarts: Counter[str] = field(default_factory=Counter)
    ended_by: str | None = None
    started_at: float | None = None
    to_ready: Histogram = field(default_factory=lambda: Histogram(_READY_BOUNDS_S))
    down_since: float | None = None
    down_s: float = 0.0

    def take(self, event: EventDocument, now: float) -> None:
        """Take one change of state."""
        before, after = event["from"], event["to"]
        if before in _RUNNING and after not in _RUNNING:
            self.ended_by = event["cause"]
        if before == "ready" and after != "ready":
            self.down_since = now
        if after == "starting":
            self.restarts.update([self.ended_by] if self.ended_by else [])
            self.ended_by, self.started_at = None, now
        elif after == "ready":
            if self.started_at is not None:
                self.to_ready.observe(now - self.started_at)
            self.started_at = None
            self._up_again(now)
        elif after == "stopped":
            self.ended_by = None
            self._up_again(now)

    def downtime_s(self, now: float) -> float:
        """Seconds not ready so far, a stretch that lasts included."""
        return self.down_s + (0.0 if self.down_since is None else now - self.down_since)

    def remember(self) -> dict[str, Any]:
        """Return all of it as JSON; `recall` is the inverse on this boot of the machine."""
        return {
            "service": self.service,
            "restarts": dict(self.restarts),
            "ended_by": self.ended_by,
            "started_at": self.started_at,
            "to_ready": remember_histogram(self.to_ready),
            "down_since": self.down_since,
            "down_s": self.down_s,
        }

    @classmethod
    def recall(cls, document: Mapping[str, Any]) -> Tally:
        """Return what `document` tells."""
        tally = cls(
            **{**document, "restarts": Counter(document["restarts"]), "to_ready": Histogram(_READY_BOUNDS_S)}
        )
        recall_histogram(tally.to_ready, document["to_ready"])
        return tally

    def _up_again(self, now: float) -> None:
        self.down_s, self.down_since = self.downtime_s(now), None


def remember_histogram(histogram: Histogram) -> dict[str, Any]:
    """Return what was observed, as JSON."""
    return {"bounds": list(histogram.bounds), "counts": list(histogram.counts), "sum": histogram.sum}


def recall_histogram(histogram: Histogram, document: Mapping[str, Any]) -> None:
    """Go on from what was observed before; another version's, with other bounds, is left out."""
    if tuple(document["bounds"]) == histogram.bounds:
        histogram.counts, histogram.sum = list(document["counts"]), document["sum"]
