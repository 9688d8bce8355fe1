"""Two inference servers on the cores of one: whether their threads get in each other's way.

Each server takes as many threads as the machine has cores, as a stack's servers do unless `cpus` says
otherwise. If waiting threads spun, or were pinned to the same cores, both would make less than one alone.
"""

from __future__ import annotations

from typing import Any

from benchmarks.systems import ours, run_load, run_loads

CLIENTS = 32


def measure(backend: str, seconds: float) -> dict[str, Any]:
    """Return the rate of one server alone, of two at once, and the latter's share of the former."""
    with ours(backend) as one, ours(backend) as other:
        for system in (one, other):
            run_load(system.plan(clients=8, seconds=1.0))
        alone = run_load(one.plan(clients=2 * CLIENTS, seconds=seconds))
        plans = [system.plan(clients=CLIENTS, seconds=seconds) for system in (one, other)]
        together = run_loads(plans)
    rates = [each["texts_per_second"] for each in together]
    return {
        "alone_per_second": alone["texts_per_second"],
        "together_per_second": rates,
        "share": round(sum(rates) / alone["texts_per_second"], 3),
        "alone_p99_ms": alone["latency_ms"]["ok"]["p99"],
        "together_p99_ms": [each["latency_ms"]["ok"]["p99"] for each in together],
    }
