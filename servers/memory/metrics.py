"""What the memory server measures beyond the shared metrics: its commits, in Prometheus' base units.

It decides names and buckets; it does not know what is committed. May be called from any thread.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)


class CommitMetrics:
    """Durations and sizes of commits, and how many memories wait for theirs; registered once per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "lucid_store_commit_duration_seconds",
            "Scoring, writing, syncing and showing one group",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "lucid_store_commit_rows", "Memories changed by one group", buckets=_ROWS, registry=registry
        )
        self._waiting = Gauge(
            "lucid_store_waiting_rows", "Memories that wait to be written", registry=registry
        )

    def record(self, rows: int, seconds: float) -> None:
        """Count one commit of so many rows, failed or not; without rows it was mere housekeeping."""
        if rows == 0:
            return
        self._rows.observe(rows)
        self._seconds.observe(seconds)

    def watch(self, waiting_rows: Callable[[], int]) -> None:
        """Report what `waiting_rows` returns from now on."""
        self._waiting.set_function(waiting_rows)
