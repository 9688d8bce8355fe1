"""What the supervisor counts about its children: restarts by cause, time to ready, time not ready, probes.

Decides the names of the metrics. Learns of changes by the events alone, and of all else from the status
document; how events are counted is `tallies`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.exposition import Family, render
from launcher.running.stack import Stack
from launcher.running.tallies import Tally, recall_histogram, remember_histogram
from launcher.snapshot import STATES, ChildDocument, EventDocument, StatusDocument

__all__ = ["StackMetrics"]


class StackMetrics:
    """Counts while it lives; `render` gives the text for a scrape."""

    def __init__(self, stack: Stack) -> None:
        """Count the events of `stack` from now on."""
        self._stack = stack
        self._tallies: dict[str, Tally] = {}
        self._loop = asyncio.get_running_loop()
        stack.publisher.listen(self._take)

    def render(self, document: StatusDocument) -> str:
        """Return all metrics in Prometheus text format; `document` is the status as of now."""
        return render([*self._counted(), *_of_children(document), *self._of_probes(), *_of_machine(document)])

    def remember(self) -> dict[str, Any]:
        """Return all that is counted, as JSON; `recall` is the inverse."""
        return {
            "children": {name: tally.remember() for name, tally in self._tallies.items()},
            "probes": {
                name: remember_histogram(child.senses.probe_latency)
                for name, child in self._stack.children.items()
            },
        }

    def recall(self, document: Mapping[str, Any]) -> None:
        """Go on from what another process has counted; the children are here already."""
        self._tallies = {name: Tally.recall(each) for name, each in document["children"].items()}
        for name, each in document["probes"].items():
            if name in self._stack.children:
                recall_histogram(self._stack.children[name].senses.probe_latency, each)

    def _take(self, event: EventDocument) -> None:
        tally = self._tallies.setdefault(event["child"], Tally(event["service"]))
        tally.take(event, self._loop.time())

    def _counted(self) -> Iterator[Family]:
        restarts = Family(
            "lucid_child_restarts_total", "counter", "Restarts, by why the generation before ended"
        )
        to_ready = Family("lucid_child_ready_seconds", "histogram", "From the spawn to ready")
        downtime = Family("lucid_child_downtime_seconds_total", "counter", "Time wanted and not ready")
        for child, tally in self._tallies.items():
            labels = {"service": tally.service, "child": child}
            for cause, count in tally.restarts.items():
                restarts.add({**labels, "cause": cause}, count)
            to_ready.add_histogram(labels, tally.to_ready)
            downtime.add(labels, tally.downtime_s(self._loop.time()))
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
