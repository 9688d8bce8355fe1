"""Searches while a thousand memories a second are stored: their rate against idle, and what they see.

In one process, without connections. After the acknowledgement of every so-manyth memory it is searched for
by its own vector: it must be the first hit. Those searches count among the searches answered meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.memory_data import (
    DEBUG_MODEL,
    Vectors,
    build_store,
    draft_of,
    memories_over,
    settings_for,
    unit_vectors,
)
from benchmarks.memory_serving import SERVED_ROWS, copy_of
from servers.memory.filters import EVERYTHING
from servers.memory.jobs import StoreJob
from servers.memory.memories import Memories
from servers.memory.search import Search

STORES_PER_SECOND = 1_000
SEARCHERS = 4
CHECK_EVERY = 20
BEAT_S = 0.01
SECONDS = 4.0


@dataclass
class Stored:
    """What the stores came to."""

    acknowledged: int = 0
    checked: int = 0
    unseen: list[str] = field(default_factory=list)


def measure(data: Path, rounds: int) -> dict[str, Any]:
    """Return searches per second, idle and beside stores, and how many memories were not seen at once."""
    folder = data / f"given-{SERVED_ROWS}"
    build_store(folder, SERVED_ROWS, DEBUG_MODEL)
    with copy_of(folder, data) as copy:
        return asyncio.run(_measure(copy, rounds))


async def _measure(folder: Path, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": SERVED_ROWS, "idle": [], "beside": [], "stored_per_second": []}
    stored = Stored()
    vectors = unit_vectors(int(rounds * SECONDS * STORES_PER_SECOND * 2), seed=2)
    async with memories_over(settings_for(folder, "debug")) as (memories, _):
        await _searches_per_second(memories, 1.0)
        for _ in range(rounds):
            found["idle"].append(await _searches_per_second(memories, SECONDS))
            before, checked = stored.acknowledged, stored.checked
            storing = asyncio.create_task(_keep_storing(memories, vectors, stored, SECONDS))
            asked = await _searches_per_second(memories, SECONDS)
            await storing
            found["beside"].append(asked + (stored.checked - checked) / SECONDS)
            found["stored_per_second"].append((stored.acknowledged - before) / SECONDS)
    return {**found, "checked": stored.checked, "unseen": len(stored.unseen)}


async def _searches_per_second(memories: Memories, seconds: float) -> float:
    queries = unit_vectors(256, seed=3)
    ends = time.perf_counter() + seconds
    counts = [0] * SEARCHERS

    async def searcher(place: int) -> None:
        while time.perf_counter() < ends:
            await _hits(memories, queries[(counts[place] * SEARCHERS + place) % len(queries)], 10)
            counts[place] += 1

    await asyncio.gather(*map(searcher, range(SEARCHERS)))
    return sum(counts) / seconds


async def _hits(memories: Memories, query: Vectors, count: int) -> list[str]:
    search = Search("default", memories.now_ms(), count, sort="relevance", query=query)
    found = await memories.retrieve(search, EVERYTHING)
    return [memory.id for _, memory in found.hits]


async def _keep_storing(memories: Memories, vectors: Vectors, stored: Stored, seconds: float) -> None:
    """Store on the beat, whatever the answers, each memory in a task of its own."""
    began = time.perf_counter()
    ends = began + seconds
    first = stored.acknowledged
    sent = 0

    async def store(number: int) -> None:
        draft = draft_of(number, vectors[number], memories.now_ms())
        outcome = await memories.change(StoreJob([draft]))
        stored.acknowledged += time.perf_counter() < ends
        if number % CHECK_EVERY == 0:
            stored.checked += 1
            if await _hits(memories, vectors[number], 1) != [outcome.memories[0].id]:
                stored.unseen.append(outcome.memories[0].id)

    async with asyncio.TaskGroup() as tasks:
        while (now := time.perf_counter()) < ends:
            while sent < (now - began) * STORES_PER_SECOND:
                tasks.create_task(store(first * 2 + sent))
                sent += 1
            await asyncio.sleep(BEAT_S)
