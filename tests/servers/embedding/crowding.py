"""A worker that is busy, so that what is asked meanwhile waits for it together."""

import asyncio
from collections.abc import Awaitable, Callable

from servers.embedding.worker import EmbeddingWorker
from tests.servers.embedding.doubles import ScriptedEngine

Settle = Callable[[], Awaitable[None]]


async def held(engine: ScriptedEngine, worker: EmbeddingWorker) -> asyncio.Task[object]:
    """A request that is being computed until the gate opens."""
    engine.gate.clear()
    task: asyncio.Task[object] = asyncio.create_task(worker.embed(["held"]))
    await engine.wait_for_forward()
    return task


async def queued(worker: EmbeddingWorker, texts: int, settled: Settle) -> None:
    """Return once `texts` texts wait in the queue, tokenised, behind the one that is held."""
    while worker.stats()["queue"]["waiting"] < texts:
        await settled()


def computed(engine: ScriptedEngine) -> list[str]:
    """Every text that was computed, in order."""
    return [text for batch in engine.batches for text in batch]
