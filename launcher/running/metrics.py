"""What the supervisor counts about its children: restarts by cause, time to ready, time not ready, probes.

Decides the names of the metrics and when a child counts as down: from the moment it was ready and is not, as
long as it is wanted. Learns of changes by the events alone, and of all else from the status document.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from launcher.exposition import Family, Histogram, render
from launcher.running.stack import Stack
from launcher.snapshot import STATES, ChildDocument, EventDocument, StatusDocument

__all__ = ["StackMetrics"]

_READY_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_RUNNING = frozenset({"starting", "ready", "unhealthy"})


@dataclass
class _Record:
    """What is counted of one child; moments are of the loop's clock."""

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

    def _up_again(self, now: float) -> None:
        self.down_s, self.down_since = self.downtime_s(now), None


class StackMetrics:
    """Counts while it lives; `render` gives the text for a scrape."""

    def __init__(self, stack: Stack) -> None:
        """Count the events of `stack` from now on."""
        self._stack = stack
        self._records: dict[str, _Record] = {}
        self._loop = asyncio.get_running_loop()
        stack.publisher.listen(self._take)

    def render(self, document: StatusDocument) -> str:
        """Return all metrics in Prometheus text format; `document` is the status as of now."""
        return render([*self._counted(), *_of_children(document), *self._of_probes(), *_of_machine(document)])

    def _take(self, event: EventDocument) -> None:
        record = self._records.setdefault(event["child"], _Record(event["service"]))
        record.take(event, self._loop.time())

    def _counted(self) -> Iterator[Family]:
        restarts = Family(
            "lucid_child_restarts_total", "counter", "Restarts, by why the generation before ended"
        )
        to_ready = Family("lucid_child_ready_seconds", "histogram", "From the spawn to ready")
        downtime = Family("lucid_child_downtime_seconds_total", "counter", "Time wanted and not ready")
        for child, record in self._records.items():
            labels = {"service": record.service, "child": child}
            for cause, count in record.restarts.items():
                restarts.add({**labels, "cause": cause}, count)
            to_ready.add_histogram(labels, record.to_ready)
            downtime.add(labels, record.downtime_s(self._loop.time()))
        yield from (restarts, to_ready, downtime)

    def _of_probes(self) -> Iterator[Family]:
        latency = Family("lucid_probe_duration_seconds", "histogram", "How long answers to probes took")
        for name, child in self._stack.children.items():
            labels = {"service": child.service.name, "child": name}
            latency.add_histogram(labels, child.senses.probe_latency)
        yield latency


def _of_children(document: StatusDocument) -> Iterator[Family]:
    state = Family("lucid_child_state", "gauge", "1 for the state that the child is in")
    exits = Family("lucid_child_exits_total", "counter", "Generations that have ended")
    failures = Family("lucid_child_consecutive_failures", "gauge", "Failed generations in a row")
    memory = Family("lucid_child_resident_bytes", "gauge", "Resident memory of the child's process tree")
    vram = Family("lucid_child_vram_bytes", "gauge", "GPU memory of the child's process tree")
    cpu = Family("lucid_child_cpu_percent", "gauge", "100 is one busy processor")
    dropped = Family("lucid_log_lines_dropped_total", "counter", "Lines of output that could not be written")
    for service, shown in document["services"].items():
        for child in shown["children"]:
            labels = {"service": service, "child": child["name"]}
            for each in STATES:
                state.add({**labels, "state": each}, child["state"] == each)
            for family, value in _figures(child, exits, failures, memory, vram, cpu, dropped):
                family.add(labels, value)
    yield from (state, exits, failures, memory, vram, cpu, dropped)


def _figures(child: ChildDocument, *families: Family) -> Iterator[tuple[Family, float | None]]:
    values = (
        child["exits_total"],
        child["consecutive_failures"],
        child["rss_bytes"],
        child["vram_bytes"],
        child["cpu_percent"],
        child["log_lines_dropped"],
    )
    yield from zip(families, values, strict=True)


def _of_machine(document: StatusDocument) -> Iterator[Family]:
    build = Family("lucid_supervisor_info", "gauge", "Always 1")
    supervisor = document["supervisor"]
    build.add({"project": document["project"], "version": supervisor["version"]}, 1)
    uptime = Family("lucid_supervisor_uptime_seconds", "gauge", "How long the supervisor runs")
    uptime.add({}, supervisor["uptime_s"])
    memory = Family("lucid_supervisor_resident_bytes", "gauge", "Resident memory of the supervisor")
    memory.add({}, supervisor["rss_bytes"])
    total = Family("lucid_gpu_memory_bytes", "gauge", "Memory of the GPU")
    free = Family("lucid_gpu_memory_free_bytes", "gauge", "Free memory of the GPU")
    answers = Family("lucid_gpu_up", "gauge", "1 while the driver lists the GPU")
    for gpu in document["gpus"]:
        labels = {"uuid": gpu["uuid"], "name": gpu["name"] or ""}
        total.add(labels, gpu["total_bytes"])
        free.add(labels, gpu["free_bytes"])
        answers.add({"uuid": gpu["uuid"]}, gpu["problem"] is None)
    yield from (build, uptime, memory, total, free, answers)
