"""Three times as many requests as the inference server can answer: what it still answers, and how it refuses.

The peak is what the same server answers with clients that wait their turn; both are measured in one process
lifetime. Requests of the overload leave on the beat, whatever becomes of those before them; how late the
generator itself was, and what it took of the machine, is told beside its figures.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

from benchmarks.systems import System, ours, run_load

FACTOR = 3.0
PEAK_CLIENTS = 64
CONNECTIONS = 900
QUEUE_SHARE_S = 0.5
"""The queue is bounded to what is answered in this time, so that what is accepted is answered soon."""

DEADLINE_MS = 400
_EXPIRED = "lucid_embedding_expired_computed_texts_total"


def measure(backend: str, seconds: float) -> dict[str, Any]:
    """Return goodput as a share of the peak, the times of refusals, and what was computed too late."""
    with ours(backend) as system:
        first = _rate(_peak(system, seconds))
    queue_items = max(64, int(first * QUEUE_SHARE_S))
    with ours(backend, queue_items=queue_items) as system:
        peaks = [_peak(system, seconds)]
        before = _rate(peaks[0])
        flood = run_load(
            system.plan(clients=CONNECTIONS, per_second=FACTOR * before, seconds=seconds, warmup_s=2.0)
        )
        hurried = run_load(
            system.plan(
                clients=CONNECTIONS,
                per_second=FACTOR * before,
                seconds=seconds,
                warmup_s=2.0,
                timeout_ms=DEADLINE_MS,
            )
        )
        peaks.append(_peak(system, seconds))
        expired = _metric(system, _EXPIRED)
    peak = statistics.mean(map(_rate, peaks))
    refused = flood["latency_ms"].get("overloaded", {})
    return {
        "peak_per_second": round(peak, 2),
        "offered_per_second": round(FACTOR * before, 2),
        "queue_items": queue_items,
        "goodput_per_second": flood["texts_per_second"],
        "goodput_share": round(flood["texts_per_second"] / peak, 3),
        "goodput_share_of_what_is_left": round(_of_rest(flood) / statistics.mean(map(_of_rest, peaks)), 3),
        "generator_cores": flood["generator_cores"],
        "generator_late_ms": flood["late_ms"],
        "answered_ms": flood["latency_ms"].get("ok"),
        "refused_ms": refused,
        "replies": flood["replies"],
        "with_deadline": {
            "timeout_ms": DEADLINE_MS,
            "goodput_share": round(hurried["texts_per_second"] / peak, 3),
            "replies": hurried["replies"],
            "expired_computed": expired,
        },
    }


def _peak(system: System, seconds: float) -> dict[str, Any]:
    return run_load(system.plan(clients=PEAK_CLIENTS, seconds=seconds))


def _rate(figures: dict[str, Any]) -> float:
    return float(figures["texts_per_second"])


def _of_rest(figures: dict[str, Any]) -> float:
    """Return the rate for each core that the load generator, which shares the machine, has left."""
    return _rate(figures) / ((os.cpu_count() or 1) - float(figures["generator_cores"]))


def _metric(system: System, name: str) -> float:
    lines = [line for line in system.get("/metrics").splitlines() if line.startswith(name + " ")]
    return float(lines[0].split()[1])
