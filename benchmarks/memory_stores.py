"""Durable stores: 64 clients against Chroma and LanceDB, and one client against the disk's own fdatasync.

Every one of our stores is scored against all memories before it is written, and acknowledged after the sync
of the log; the peers' are measured as they come. All run in the process of their clients, without a network.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory_data import (
    draft_of,
    fdatasync_s,
    memories_over,
    peer,
    percentile,
    settings_for,
    unit_vectors,
)
from servers.memory.jobs import StoreJob
from servers.memory.memories import Memories

CLIENTS = 64
STORES = 20_000
LONE_STORES = 1_000
PEER_SECONDS = 8.0


def measure(data: Path, peers: Path | None, rounds: int) -> dict[str, Any]:
    """Return the rates of ours and the peers, each round from an empty store, and the lone client's time."""
    found: dict[str, Any] = {"clients": CLIENTS, "ours": [], "lone_ms": [], "fdatasync_ms": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=data) as folder:
            found["fdatasync_ms"].append(1000 * fdatasync_s(Path(folder)))
            rate, lone_ms = asyncio.run(_ours(Path(folder) / "ours"))
            found["ours"].append(rate)
            found["lone_ms"].append(lone_ms)
            for name in ("chroma", "lancedb") if peers is not None else ():
                assert peers is not None
                found.setdefault(name, []).append(_peer_rate(peers, name, Path(folder) / name))
    return found


def _peer_rate(peers: Path, name: str, folder: Path) -> float:
    with peer(peers, name, folder) as one:
        one.ask(1, 0.5)
        return float(one.ask(CLIENTS, PEER_SECONDS)["per_second"])


async def _ours(folder: Path) -> tuple[float, float]:
    vectors = unit_vectors(STORES + LONE_STORES, seed=2)
    async with memories_over(settings_for(folder, "debug")) as (memories, _):
        lone = [await _store_s(memories, number, vectors) for number in range(LONE_STORES)]
        numbers = iter(range(LONE_STORES, LONE_STORES + STORES))
        began = time.perf_counter()
        await asyncio.gather(*(_client(memories, numbers, vectors) for _ in range(CLIENTS)))
        seconds = time.perf_counter() - began
        counts = await memories.counts()
        assert counts is not None
        assert counts.store.rows == STORES + LONE_STORES
    return STORES / seconds, 1000 * statistics.median(lone)


async def _client(memories: Memories, numbers: Any, vectors: Any) -> None:
    for number in numbers:
        await _store_s(memories, number, vectors)


async def _store_s(memories: Memories, number: int, vectors: Any) -> float:
    draft = draft_of(number, vectors[number], memories.now_ms())
    began = time.perf_counter()
    await memories.change(StoreJob([draft]))
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    """Return median and range of some values as text."""
    return f"{statistics.median(values):.3g} ({percentile(values, 0):.3g} to {max(values):.3g})"
