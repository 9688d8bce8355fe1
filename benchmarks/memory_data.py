"""The vectors, stores and processes that the memory benchmark measures with; the same on every run.

Decides the data only: unit vectors drawn from a seed, memories around them, a data folder per size that is
built once and kept. Measures nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from servers.embedding.worker import EmbeddingWorker
from servers.memory.assembly import open_store
from servers.memory.ids import new_id
from servers.memory.jobs import Draft
from servers.memory.memories import Memories
from servers.memory.metrics import CommitMetrics
from servers.memory.settings import MemorySettings
from servers.memory.store.base import Memory, ModelMark, Transaction
from servers.memory.store.sqlite import SqliteStore
from servers.readiness import Readiness
from servers.serve import spare_the_collector
from servers.telemetry import Telemetry

DIMENSIONS = 384
SEED = 1
PIECE_ROWS = 4096
NOW_MS = 1_700_000_000_000
MODEL = ModelMark("all-MiniLM-L6-v2", DIMENSIONS)
DEBUG_MODEL = ModelMark("debug", DIMENSIONS)
PEERS_SCRIPT = Path(__file__).with_name("memory_peers.py")

Vectors = npt.NDArray[np.float32]


def unit_vectors(count: int, seed: int = SEED) -> Vectors:
    """Return `count` random vectors of length 1, (count, DIMENSIONS), the same for a seed."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    for start in range(0, count, 65_536):
        part = vectors[start : start + 65_536]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def memory_of(number: int, vector: Vectors, now_ms: int) -> Memory:
    """Return memory `number` of the benchmark, not stored yet."""
    return Memory(
        id=new_id(now_ms),
        namespace="default",
        text=f"Memory number {number} of the benchmark, about as long as what people say.",
        timestamp_ms=now_ms,
        significance=(number * 7919 % 1000) / 1000,
        surprise=0.5,
        type=None,
        tags=(),
        metadata={},
        vector=vector,
    )


def draft_of(number: int, vector: Vectors, now_ms: int) -> Draft:
    """Return memory `number` as a client's store request would bring it: its scores are to be computed."""
    return Draft(memory_of(number, vector, now_ms), 0.5, None, None, False)


def build_store(folder: Path, rows: int, model: ModelMark = MODEL) -> None:
    """Fill `folder` with a store of so many memories, unless it holds them already."""
    store = SqliteStore(folder)
    try:
        store.bind_model(model)
        done = store.count()
        if done < rows:
            vectors = unit_vectors(rows)
            for start in range(done, rows, PIECE_ROWS):
                part = range(start, min(rows, start + PIECE_ROWS))
                memories = [memory_of(number, vectors[number], NOW_MS + number) for number in part]
                store.apply([partial(_insert_all, memories)])
    finally:
        store.close()


def _insert_all(memories: list[Memory], transaction: Transaction) -> None:
    for memory in memories:
        transaction.insert(memory)


def settings_for(folder: Path, backend: str) -> MemorySettings:
    """Return the options of a memory server over that folder."""
    return MemorySettings.model_validate({"path": folder, "backend": backend})


@asynccontextmanager
async def memories_over(
    settings: MemorySettings,
) -> AsyncIterator[tuple[Memories, EmbeddingWorker]]:
    """The memories of a folder as the server has them, in this process, without its connections."""
    readiness = Readiness()
    telemetry = Telemetry("memory", "benchmark", readiness)
    worker = EmbeddingWorker(settings, telemetry.registry)
    memories = Memories(
        settings,
        worker,
        readiness,
        open_store=partial(open_store, settings),
        now_ms=lambda: time.time_ns() // 1_000_000,
        metrics=CommitMetrics(telemetry.registry),
    )
    try:
        await memories.start()
        spare_the_collector(readiness)
        yield memories, worker
    finally:
        await memories.stop()


def fdatasync_s(folder: Path, times: int = 200, size: int = 12_288) -> float:
    """Return the median seconds of one fdatasync after a write of `size` bytes into room that exists."""
    file = folder / "fdatasync"
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, bytes(size * times), 0)
        os.fdatasync(fd)
        return statistics.median(_sync_s(fd, os.urandom(size), place * size) for place in range(times))
    finally:
        os.close(fd)
        file.unlink()


def _sync_s(fd: int, data: bytes, offset: int) -> float:
    os.pwrite(fd, data, offset)
    return seconds_of(lambda: os.fdatasync(fd))


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def percentile(values: list[float], share: float) -> float:
    """Return the value below which so large a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Peer:
    """A peer library in its own virtual environment, which does one thing per line that it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *words: object) -> Any:
        """Have it do something and return what it found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def peer(venv: Path, name: str, *arguments: object) -> Iterator[Peer]:
    """Start a peer; `name` and `arguments` are those of `memory_peers.py`."""
    argv = [str(venv / "bin" / "python"), str(PEERS_SCRIPT), name, *map(str, arguments)]
    environ = {**os.environ, "ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1"}
    with subprocess.Popen(
        argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()
