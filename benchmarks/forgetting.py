"""`python -m benchmarks.forgetting [--backend torch|debug] [--seeds N]`: what survives `forget`?

Stores a year of things said (facts that matter, repeats, noise) in a real memory store, has it forget down
to given sizes with `forget` and `keep`, and counts the facts that at least one remaining memory still tells.
Beside it: keeping the most recent, keeping at random, and an oracle that knows what is a fact. The bound is
95 % of the oracle down to a quarter of the stream; smaller sizes are reported too. Writes
`benchmarks/results/forgetting.json`; exit code 1 when the bound is missed.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.forgetting_stream import Said, make_stream
from tests.servers.memory.desk import open_desk

RESULT: Final = Path(__file__).parent / "results" / "forgetting.json"
BOUND: Final = 0.95
FACTS, REPEATS, NOISE = 150, 150, 1200
KEPT: Final = (750, 500, 375, 300, 225, 150)
"""Sizes to forget down to: from half of the stream to a tenth, which is just the facts."""
BOUND_HOLDS_FROM: Final = 375
"""A quarter of the stream: 2.5 memories per fact. Below, repeats and near relatives of facts compete."""
START_MS: Final = 1_700_000_000_000


def facts_told(stream: Sequence[Said], kept: Iterable[int]) -> int:
    """How many distinct facts the kept ones tell."""
    return len({stream[place].fact for place in kept} - {None})


def by_recency(stream: Sequence[Said], size: int) -> range:
    """The last `size` things said."""
    return range(len(stream) - size, len(stream))


def at_random(stream: Sequence[Said], size: int, seed: int) -> list[int]:
    """Any `size` of them."""
    return random.Random(seed).sample(range(len(stream)), size)


async def ours(stream: Sequence[Said], sizes: Sequence[int], backend: str) -> dict[int, int]:
    """Facts told after `forget` down to each size, the store growing smaller step by step."""
    told: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="forgetting-") as folder:
        async with open_desk(Path(folder), backend=backend) as desk:
            for place, said in enumerate(stream):
                at_ms = START_MS + said.at_ms
                reply = await desk.ask("store", text=said.text, id=str(place), timestamp=at_ms)
                assert reply["status"] == "success", reply
            desk.clock.now_ms = START_MS + stream[-1].at_ms
            for size in sorted(sizes, reverse=True):
                reply = await desk.ask("forget", keep=size)
                assert reply["stats"]["total_memories"] == size, reply
                told[size] = facts_told(stream, [int(memory_id) for memory_id in await _left(desk)])
    return told


async def _left(desk: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await desk.ask("list", limit=1000, cursor=cursor)
        found += [memory["id"] for memory in page["memories"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def measure(seed: int, backend: str) -> dict[int, dict[str, float]]:
    """The share of the oracle's facts that each policy keeps, per size."""
    stream = make_stream(FACTS, REPEATS, NOISE, seed)
    kept = asyncio.run(ours(stream, KEPT, backend))
    shares: dict[int, dict[str, float]] = {}
    for size in KEPT:
        oracle = min(size, FACTS)
        shares[size] = {
            "forget": kept[size] / oracle,
            "recency": facts_told(stream, by_recency(stream, size)) / oracle,
            "random": facts_told(stream, at_random(stream, size, seed)) / oracle,
        }
    return shares


def main(backend: str, seeds: int) -> int:
    """Measure, write, say; returns the exit code."""
    runs = [measure(seed, backend) for seed in range(seeds)]
    table = {
        size: {name: round(statistics.median(run[size][name] for run in runs), 4) for name in runs[0][size]}
        for size in KEPT
    }
    holds = all(table[size]["forget"] >= BOUND for size in KEPT if size >= BOUND_HOLDS_FROM)
    result = {
        "stream": {"facts": FACTS, "repeats": REPEATS, "noise": NOISE, "seeds": seeds, "embedding": backend},
        "share_of_the_oracle_by_memories_kept": table,
        "bound": {"share": BOUND, "from_size": BOUND_HOLDS_FROM, "holds": holds},
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if holds else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What survives forgetting")
    parser.add_argument("--backend", choices=["torch", "debug"], default="torch")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    sys.exit(main(given.backend, given.seeds))
