"""The memory server at work: text queries over WebSocket, searches beside stores, and its start.

The server runs in a process of its own with the default model; the load comes from another. What a retrieval
costs without server is measured in this process: the same engine, the same index, the same batching.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.memory_data import NOW_MS, build_store, percentile, settings_for
from benchmarks.memory_search import filled
from benchmarks.texts import short_texts
from servers.embedding.worker import EmbeddingWorker
from servers.memory.search import Search
from servers.memory.search_batches import SearchBatches

CLIENTS = 16
SERVED_ROWS = 100_000
READY_S = 240.0
POLL_S = 0.02


@dataclass(frozen=True)
class Served:
    """A running memory server: its port, its process, and the seconds from its spawn until it was ready."""

    port: int
    pid: int
    ready_s: float

    def resident_mb(self) -> float:
        """Return the resident memory of the process in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextmanager
def server(folder: Path, **more: object) -> Iterator[Served]:
    """Run the memory server over `folder`, default engine and `more` options, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    options = {"path": str(folder), "backend": "auto", **more}
    environ = {**os.environ, "LUCID_OPTIONS": json.dumps(options), "PORT": str(port), "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "servers.memory"], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_ready(process, port)
        yield Served(port, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + READY_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} instead of getting ready")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    raise TimeoutError(f"the server was not ready within {READY_S:g} s")


def measure_start(data: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Return seconds to ready and resident MiB of every start; the first may have to build what later use."""
    folder = data / f"rows-{rows}"
    build_store(folder, rows)
    found: dict[str, Any] = {"rows": rows, "ready_s": [], "resident_mb": []}
    for number in range(-1, rounds):
        _warm(folder)
        with server(folder) as served:
            if number < 0:
                found["first_ready_s"] = served.ready_s
                continue
            found["ready_s"].append(served.ready_s)
            found["resident_mb"].append(served.resident_mb())
    return found


def _warm(folder: Path) -> None:
    """Read every file once, so that they are in memory as far as the machine lets them."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass


def measure_retrieve(data: Path, rounds: int, seconds: float = 6.0) -> dict[str, Any]:
    """Return latencies in milliseconds over WebSocket and of embedding and search alone, in turn."""
    folder = data / f"rows-{SERVED_ROWS}"
    build_store(folder, SERVED_ROWS)
    found: dict[str, Any] = {"clients": CLIENTS, "rows": SERVED_ROWS, "served": [], "alone": []}
    for _ in range(rounds):
        with server(folder) as served:
            argv = [
                sys.executable,
                "-m",
                "benchmarks.memory_load",
                str(served.port),
                str(CLIENTS),
                str(seconds),
            ]
            done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
            found["served"].append(json.loads(done.stdout))
        found["alone"].append(asyncio.run(_alone(seconds)))
    return found


async def _alone(seconds: float) -> dict[str, float]:
    """Embedding and search by as many tasks as there were clients, without connections, JSON or store."""
    worker = EmbeddingWorker(settings_for(Path("unused"), "auto"), CollectorRegistry())
    index = filled(SERVED_ROWS)
    searches = SearchBatches(index.search_many)
    await worker.start(lambda phase, share: None)

    async def one(text: str) -> None:
        embedded = await worker.embed([text])
        query = embedded.vectors[0]
        await searches.search(Search("default", NOW_MS + SERVED_ROWS, 5, sort="relevance", query=query))

    try:
        return await latencies(one, CLIENTS, seconds)
    finally:
        await searches.close()
        await worker.close()
        index.close()


async def latencies(
    one: Callable[[str], Awaitable[None]], clients: int, seconds: float, warmup_s: float = 1.0
) -> dict[str, float]:
    """Have so many clients do `one` over and over with texts of their own; return rate and latencies."""
    texts = short_texts(4096)
    taken: list[float] = []
    begins = time.perf_counter() + warmup_s

    async def client(place: int) -> None:
        turn = place
        while (began := time.perf_counter()) < begins + seconds:
            await one(texts[turn % len(texts)])
            turn += clients
            if began >= begins:
                taken.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(client(place) for place in range(clients)))
    return {
        "per_second": len(taken) / seconds,
        "p50_ms": percentile(taken, 0.5),
        "p99_ms": percentile(taken, 0.99),
    }


@contextmanager
def copy_of(folder: Path, data: Path) -> Iterator[Path]:
    """A copy of a store that may be written to."""
    with tempfile.TemporaryDirectory(dir=data) as place:
        yield Path(shutil.copytree(folder, Path(place) / "copy"))
