"""The last two minutes of each child and GPU as numbers, for the sparklines.

Pure: one sample a second from snapshots. What is unknown is None, never 0.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.terminal.gpu_cells import gpu_figure

__all__ = ["SAMPLES", "History"]

SAMPLES = 120

Series = deque[float | None]


class History:
    """Samples by name and figure: children have per_second, p50, p99, queue, cpu, rss, vram; GPUs
    utilization.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        self._samples = samples
        self._series: dict[tuple[str, str], Series] = {}
        self._second = ""

    def take(self, document: Mapping[str, Any]) -> None:
        """A new snapshot; within the same second only the first one counts."""
        second = str(document.get("at", ""))[:19]
        if second == self._second:
            return
        self._second = second
        for name, figures in _sampled(document):
            for figure, value in figures.items():
                series = self._series.setdefault((name, figure), deque(maxlen=self._samples))
                series.append(value)

    def of(self, name: str, figure: str) -> list[float | None]:
        """The samples of a figure, oldest first; empty for what was never seen."""
        return list(self._series.get((name, figure), ()))


def _sampled(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float | None]]]:
    """The figures of every child and GPU of a snapshot."""
    for service in document.get("services", {}).values():
        for child in service.get("children") or []:
            yield str(child["name"]), child_figures(child)
    for gpu in document.get("gpus") or []:
        yield str(gpu.get("uuid")), {"utilization": gpu_figure(gpu, "utilization")}


def child_figures(child: Mapping[str, Any]) -> dict[str, float | None]:
    """What is drawn over time for a child; all unknown while there is no process."""
    is_alive = child.get("pid") is not None
    stats = ((child.get("health") or {}).get("stats") or {}) if is_alive else {}
    total = (stats.get("latency_ms") or {}).get("total") or {}
    return {
        "per_second": (stats.get("requests") or {}).get("per_second"),
        "p50": total.get("p50"),
        "p99": total.get("p99"),
        "queue": (stats.get("queue") or {}).get("depth"),
        "cpu": child.get("cpu_percent"),
        "rss": child.get("rss_bytes"),
        "vram": child.get("vram_bytes"),
    }
