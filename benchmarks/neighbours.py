"""Two inference servers on the cores of one: whether their threads, or one port for both, cost anything.

Each server takes as many threads as the machine has cores, as a stack's servers do unless `cpus` says
otherwise. If waiting threads spun, or were pinned to the same cores, both would make less than one alone. The
processor time for a text says the same on a machine that other programs use too. Two more are replicas on one
port, under the launcher: how much they make there, and how evenly the connections fall.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.systems import System, ours, replicas, run_load, run_loads

CLIENTS = 32
TURNS = 3

Figures = dict[str, Any]


def measure(backend: str, seconds: float) -> Figures:
    """Return rates and processor time of one server alone, of two at once and of two on one port, in turn.

    `share` is what two make of what one makes with the clients of both. `cpu_share` is the processor time for
    a text of one server to that of two with as many clients each: batches of the same size, which is what a
    text costs most by. `one_port_share` is what two make on one port of what they make on a port each.
    """
    turns: dict[str, list[Figures]] = {"single": [], "half": [], "two": [], "one_port": []}
    with ours(backend) as one, ours(backend) as other, replicas(backend, 2) as shared:
        for system in (one, other, *shared):
            run_load(system.plan(clients=8, seconds=1.0))
        for _ in range(TURNS):
            # Whatever else the machine does, it does to all of them.
            turns["single"].append(_load([one], [one, one], seconds))
            turns["half"].append(_load([one], [one], seconds))
            turns["two"].append(_load([one, other], [one, other], seconds))
            turns["one_port"].append(_load(shared, shared, seconds))
    rates = {name: _median(figures, "per_second") for name, figures in turns.items()}
    return {
        **turns,
        "share": round(rates["two"] / rates["single"], 3),
        "cpu_share": round(_median(turns["half"], "cpu_ms") / _median(turns["two"], "cpu_ms"), 3),
        "one_port_share": round(rates["one_port"] / rates["two"], 3),
    }


def _load(systems: Sequence[System], asked: Sequence[System], seconds: float) -> Figures:
    """Load each that is `asked` from a process of its own; `used` is how the processor time parted.

    The same clients come from as many processes in every case, as these cost the machine something too.
    """
    before = [system.cpu_seconds() for system in systems]
    # No warm-up: the processor time is of all texts, and so is the rate.
    loads = run_loads([each.plan(clients=CLIENTS, seconds=seconds, warmup_s=0.0) for each in asked])
    used_s = [system.cpu_seconds() - then for system, then in zip(systems, before, strict=True)]
    texts = sum(load["replies"]["ok"] for load in loads)
    return {
        "per_second": round(sum(load["texts_per_second"] for load in loads), 1),
        "cpu_ms": round(1000 * sum(used_s) / texts, 3),
        "p99_ms": max(load["latency_ms"]["ok"]["p99"] for load in loads),
        "used": [round(each / sum(used_s), 2) for each in used_s],
    }


def _median(turns: list[Figures], key: str) -> float:
    return statistics.median(float(each[key]) for each in turns)
