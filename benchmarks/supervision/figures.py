"""Reads what the kernel knows of processes, and makes figures of samples."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

__all__ = ["cpu_s", "memory_bytes", "percentiles_ms", "total_memory", "wait_until"]


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident and proportional memory of one process."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    return {name: int(fields[key].split()[0]) * 1024 for name, key in (("rss", "Rss"), ("pss", "Pss"))}


def total_memory(pids: Iterable[int]) -> dict[str, float]:
    """The sums over some processes, in MB (10**6 bytes)."""
    each = [memory_bytes(pid) for pid in pids]
    return {f"{name}_mb": round(sum(one[name] for one in each) / 1e6, 1) for name in ("rss", "pss")}


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time of all threads of some processes so far, to the nanosecond that the scheduler keeps."""
    total = 0
    for pid in pids:
        for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(schedstat.read_text().split()[0])
    return total / 1e9


def percentiles_ms(samples_s: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and most of some durations, in milliseconds."""
    ordered = sorted(samples_s)
    if not ordered:
        return {"n": 0}
    rank = max(0, -(-99 * len(ordered) // 100) - 1)
    figures = {"p50": ordered[len(ordered) // 2], "p99": ordered[rank], "max": ordered[-1]}
    return {"n": len(ordered)} | {name: round(value * 1000, 2) for name, value in figures.items()}


def wait_until(is_reached: Callable[[], object], within_s: float, period_s: float = 0.005) -> float | None:
    """Ask until the answer is true; returns the seconds that it took, None when it took too long."""
    began = time.monotonic()
    while not is_reached():
        if time.monotonic() - began > within_s:
            return None
        select.select([], [], [], period_s)
    return time.monotonic() - began
