"""Durable stores: 64 clients against Chroma and LanceDB, and one client against the disk's own fdatasync.

One memory a request, and sixteen. Every one of ours is scored against all memories before it is written, and
acknowledged after the sync of the log; the peers' are measured as they come. All run in the process of their
clients, without a network.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.memory_data import (
    Vectors,
    draft_of,
    fdatasync_s,
    memories_over,
    peer,
    settings_for,
    unit_vectors,
)
from servers.memory.jobs import StoreJob
from servers.memory.memories import Memories

CLIENTS = 64
STORES = 20_000
LONE_STORES = 1_000
TOGETHER = 16
PEER_SECONDS = 8.0


def measure(data: Path, peers: Path | None, rounds: int) -> dict[str, Any]:
    """Return the rates of ours and the peers, each round from an empty store, and the lone client's time.

    `..._together` are memories a second in requests of TOGETHER memories each.
    """
    found: dict[str, Any] = {"clients": CLIENTS, "items together": TOGETHER}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=data) as folder:
            _note(found, "fdatasync_ms", 1000 * fdatasync_s(Path(folder)))
            _note(found, "lone_ms", asyncio.run(_lone_ms(Path(folder) / "lone")))
            for name, items in (("", 1), ("_together", TOGETHER)):
                _note(found, f"ours{name}", asyncio.run(_ours(Path(folder) / f"ours{name}", items)))
                for peer_name in ("chroma", "lancedb") if peers is not None else ():
                    assert peers is not None
                    place = Path(folder) / f"{peer_name}{name}"
                    _note(found, f"{peer_name}{name}", _peer_rate(peers, peer_name, place, items))
    return found


def _note(found: dict[str, Any], name: str, value: float) -> None:
    found.setdefault(name, []).append(value)


def _peer_rate(peers: Path, name: str, folder: Path, items: int) -> float:
    with peer(peers, name, folder) as one:
        one.ask(1, 0.5, items)
        return float(one.ask(CLIENTS, PEER_SECONDS, items)["per_second"])


async def _lone_ms(folder: Path) -> float:
    vectors = unit_vectors(LONE_STORES, seed=2)
    async with memories_over(settings_for(folder, "debug")) as (memories, _):
        return 1000 * statistics.median(
            [await _store_s(memories, range(number, number + 1), vectors) for number in range(LONE_STORES)]
        )


async def _ours(folder: Path, items: int) -> float:
    vectors = unit_vectors(STORES, seed=2)
    requests = iter([range(first, first + items) for first in range(0, STORES, items)])
    async with memories_over(settings_for(folder, "debug")) as (memories, _):
        began = time.perf_counter()
        await asyncio.gather(*(_client(memories, requests, vectors) for _ in range(CLIENTS)))
        seconds = time.perf_counter() - began
        counts = await memories.counts()
        assert counts is not None
        assert counts.store.rows == STORES
    return STORES / seconds


async def _client(memories: Memories, requests: Iterator[range], vectors: Vectors) -> None:
    for numbers in requests:
        await _store_s(memories, numbers, vectors)


async def _store_s(memories: Memories, numbers: range, vectors: Vectors) -> float:
    now_ms = memories.now_ms()
    drafts = [draft_of(number, vectors[number], now_ms) for number in numbers]
    began = time.perf_counter()
    await memories.change(StoreJob(drafts))
    return time.perf_counter() - began
