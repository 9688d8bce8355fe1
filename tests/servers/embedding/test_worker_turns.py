"""What requests compete for: turns, the queue, and time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from servers.embedding.engine import OnPhase, Tokens
from servers.embedding.worker import INTERACTIVE_TEXTS, EmbeddingWorker
from servers.errors import DeadlineExceeded, InternalError, Overloaded, TooLarge
from servers.settings import EmbeddingSettings
from tests.servers.embedding.crowding import computed, held, queued
from tests.servers.embedding.doubles import ScriptedEngine

OpenWorker = Callable[..., AbstractAsyncContextManager[EmbeddingWorker]]
Settle = Callable[[], Awaitable[None]]


async def test_a_single_text_does_not_wait_for_hundreds_of_another_client(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Behind 20 interactive requests of one client, another client's text is in the next batch."""
    async with open_worker(max_batch_tokens=64) as worker:
        first = await held(engine, worker)
        greedy = [
            asyncio.create_task(worker.embed([f"greedy {number} {place}" for place in range(20)], client=1))
            for number in range(20)
        ]
        await queued(worker, 400, settled)
        modest = asyncio.create_task(worker.embed(["a modest text"], client=2))
        await queued(worker, 401, settled)
        engine.gate.set()
        await asyncio.gather(first, modest, *greedy)
    assert "a modest text" in engine.batches[1]


async def test_many_texts_are_bulk_work_whatever_they_are_called(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """A request beyond the limit for interactive ones gives way to them."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        many = [f"text {place}" for place in range(INTERACTIVE_TEXTS + 1)]
        large = asyncio.create_task(worker.embed(many))
        await queued(worker, len(many), settled)
        quick = asyncio.create_task(worker.embed(["quick"]))
        await queued(worker, len(many) + 1, settled)
        engine.gate.set()
        await asyncio.gather(first, large, quick)
    assert engine.batches[1] == ["quick"]


async def test_bulk_work_cannot_fill_the_queue_for_interactive_clients(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Bulk is refused while there is still room for others."""
    async with open_worker(queue_items=8) as worker:
        first = await held(engine, worker)
        bulk = asyncio.create_task(worker.embed(["a", "b", "c", "d", "e"], priority="bulk"))
        await queued(worker, 5, settled)
        with pytest.raises(Overloaded):
            await worker.embed(["f"], priority="bulk")
        quick = asyncio.create_task(worker.embed(["f"]))
        await queued(worker, 6, settled)
        engine.gate.set()
        await asyncio.gather(first, bulk, quick)
        assert worker.stats()["dropped"] == {"overloaded": 1}


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(
    engine: ScriptedEngine, open_worker: OpenWorker
) -> None:
    """From the recent speed it is known that this will take longer; nothing is queued."""
    loop = asyncio.get_running_loop()
    async with open_worker() as worker:
        worker._tokens_per_s = 10.0  # what a slow device would have taught it
        with pytest.raises(DeadlineExceeded, match="too near"):
            await worker.embed(["word " * 100], deadline=loop.time() + 1.0)
        assert worker.stats()["queue"]["depth"] == 0
        assert worker.stats()["dropped"] == {"deadline_exceeded": 1}
    assert engine.batches == []


async def test_what_expires_in_the_queue_is_not_computed_though_its_client_was_not_told_yet(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """The model thread looks at deadlines itself when it forms a batch, however busy the loop is."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        loop = asyncio.get_running_loop()
        late = asyncio.create_task(worker.embed(["late"], deadline=loop.time() + 0.05))
        await queued(worker, 1, settled)
        after = asyncio.create_task(worker.embed(["after"]))
        await queued(worker, 2, settled)
        with pytest.raises(DeadlineExceeded):
            await late
        engine.gate.set()
        await asyncio.gather(first, after)
    assert computed(engine) == ["held", "after"]


async def test_refusing_takes_next_to_no_time(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """A hundred refusals of large requests while the model computes take well under 5 ms each."""
    loop = asyncio.get_running_loop()
    texts = ["word " * 50] * 2048
    async with open_worker(queue_items=4) as worker:
        first = await held(engine, worker)
        took = []
        for _ in range(100):
            began = loop.time()
            with pytest.raises(Overloaded):
                await worker.embed(texts)
            took.append(loop.time() - began)
        engine.gate.set()
        await first
    assert sorted(took)[50] < 0.005


async def test_a_forward_that_never_ends_fails_who_waits_and_is_not_alive(
    engine: ScriptedEngine, on_phase: OnPhase, settled: Settle
) -> None:
    """A hung device is noticed: `is_alive` says no and nobody is left hanging, newcomers included."""
    worker = EmbeddingWorker(
        EmbeddingSettings(backend="debug"),
        CollectorRegistry(),
        load=lambda _settings, _on_phase: engine,
        stall_s=0.0,
    )
    await worker.start(on_phase)
    engine.forget()
    hung = await held(engine, worker)
    assert not worker.is_alive()
    with pytest.raises(InternalError, match="engine has died"):
        await hung
    with pytest.raises(InternalError, match="engine has died"):
        await worker.embed(["newcomer"])
    await worker.close()
    engine.gate.set()


async def test_a_failing_tokenizer_fails_its_requests_and_no_others(
    engine: ScriptedEngine, open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception before the model is answered as ours, and the stage goes on."""
    tokenize = engine.tokenize

    def failing(texts: list[str]) -> list[Tokens]:
        if "untokenizable" in texts:
            raise ValueError("no such text")
        return tokenize(texts)

    monkeypatch.setattr(engine, "tokenize", failing)
    async with open_worker() as worker:
        with pytest.raises(InternalError, match="could not be tokenised"):
            await worker.embed(["untokenizable"])
        assert (await worker.embed(["fine"])).vectors.shape == (1, 384)
        assert worker.is_alive()


async def test_a_large_request_is_refused_whole_for_one_text_at_its_end(
    engine: ScriptedEngine, open_worker: OpenWorker
) -> None:
    """With truncate=False nothing is computed before every text of the request is known to fit."""
    texts = [f"text {place}" for place in range(300)] + ["word " * 300]
    async with open_worker() as worker:
        with pytest.raises(TooLarge, match="Text 300"):
            await worker.embed(texts, truncate=False)
    assert engine.batches == []


async def test_order_holds_across_the_chunks_of_a_large_request(open_worker: OpenWorker) -> None:
    """Rows, lengths and flags are those of the texts in the order asked, however they were cut up."""
    texts = [f"text {place} " + "more " * (place % 9) for place in range(500)]
    async with open_worker() as worker:
        large, small = await asyncio.gather(worker.embed(texts), worker.embed(texts[40:60]))
    assert large.tokens == tuple(4 + place % 9 for place in range(500))
    np.testing.assert_array_equal(large.vectors[40:60], small.vectors)
