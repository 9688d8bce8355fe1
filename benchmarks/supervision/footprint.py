"""Rows: memory and processor time of the supervisor itself with four services, and memory after a flood."""

from __future__ import annotations

import select
import time
from typing import Any

from benchmarks.supervision.figures import cpu_s, memory_bytes, total_memory, wait_until
from benchmarks.supervision.systems import Service, System, free_port, python_child

__all__ = ["measure_flood", "measure_idle"]

SETTLES_S = 5.0


def measure_idle(system: System, seconds: float) -> dict[str, Any]:
    """Four services that answer HTTP, asked once a second by those that can ask."""
    system.start(
        [
            Service(f"s{number}", python_child("serve", str(port)), port, is_probed=True)
            for number, port in enumerate([free_port() for _ in range(4)])
        ]
    )
    select.select([], [], [], SETTLES_S)
    owners = system.owners()
    began, before = time.monotonic(), cpu_s(owners.values())
    select.select([], [], [], seconds)
    spent = cpu_s(owners.values()) - before
    each = {
        role: {n: round(v / 1e6, 1) for n, v in memory_bytes(pid).items()} for role, pid in owners.items()
    }
    return {
        "processes": len(owners),
        "main_rss_mb": next(iter(each.values()))["rss"],
        **total_memory(owners.values()),
        "cpu_ms_per_s": round(spent * 1000 / (time.monotonic() - began), 2),
        "each_mb": each,
    }


def measure_flood(system: System, size: int, within_s: float) -> dict[str, Any]:
    """One service that writes `size` bytes of lines as fast as they are taken, beside three that are idle."""
    done = system.folder / "done"
    flood = Service("flood", python_child("flood", str(size), str(done)))
    idle = [Service(f"s{number}", ("/bin/sleep", "1000000")) for number in range(3)]
    # The service is held back until the memory before has been read.
    gate = system.folder / "gate"
    script = system.folder / "wait.sh"
    script.write_text(f'while [ ! -e {gate} ]; do sleep 0.1; done\nexec "$@"\n')
    system.start([Service(flood.name, ("/bin/sh", str(script), *flood.argv)), *idle])
    select.select([], [], [], SETTLES_S)
    owners = system.owners()
    before = total_memory(owners.values())
    cpu_before = cpu_s(owners.values())
    gate.touch()
    took_s = wait_until(done.exists, within_s, 0.05)
    highest = total_memory(owners.values())
    select.select([], [], [], 2.0)
    after = total_memory(owners.values())
    return {
        "seconds": None if took_s is None else round(took_s, 1),
        "mb_per_s": None if took_s is None else round(size / took_s / 1e6, 1),
        "cpu_s": round(cpu_s(owners.values()) - cpu_before, 1),
        "rss_before_mb": before["rss_mb"],
        "rss_at_the_end_mb": highest["rss_mb"],
        "rss_after_mb": after["rss_mb"],
        "grown_mb": round(after["rss_mb"] - before["rss_mb"], 1),
    }
