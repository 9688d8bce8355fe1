"""The worker's promises: refused at once, dropped when unwanted, isolated when bad, loud when dead."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest

from servers.embedding.worker import EmbeddingWorker
from servers.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    ShuttingDown,
    TooLarge,
)
from servers.settings import EmbeddingSettings
from tests.servers.embedding.doubles import ScriptedEngine, always_failing

OpenWorker = Callable[..., AbstractAsyncContextManager[EmbeddingWorker]]
Settle = Callable[[], Awaitable[None]]

DEBUG = EmbeddingSettings(backend="debug")


async def held(engine: ScriptedEngine, worker: EmbeddingWorker) -> asyncio.Task[object]:
    """A request that is being computed until the gate opens."""
    engine.gate.clear()
    task: asyncio.Task[object] = asyncio.create_task(worker.embed(["held"]))
    await engine.wait_for_forward()
    return task


async def test_vectors_come_in_order_with_lengths_and_times(open_worker: OpenWorker) -> None:
    """Each text's row is its own, unit length, whatever batches were formed."""
    async with open_worker(max_batch_tokens=16) as worker:
        texts = [f"text {place} " + "more " * (place % 7) for place in range(40)]
        embedded = await worker.embed(texts)
        alone = [(await worker.embed([text])).vectors[0] for text in texts]
    np.testing.assert_allclose(embedded.vectors, np.stack(alone), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedded.vectors, axis=1), 1.0, atol=1e-5)
    assert embedded.tokens == tuple(4 + place % 7 for place in range(40))
    assert embedded.truncated == (False,) * 40
    assert embedded.vectors.flags.c_contiguous
    assert min(embedded.timing.queue_s, embedded.timing.tokenize_s, embedded.timing.infer_s) >= 0


async def test_raw_vectors_are_given_when_asked_for(open_worker: OpenWorker) -> None:
    """Without normalising, vectors keep the model's length and direction."""
    async with open_worker() as worker:
        raw = (await worker.embed(["one two three"], normalize=False)).vectors[0]
        unit = (await worker.embed(["one two three"])).vectors[0]
    assert abs(float(np.linalg.norm(raw)) - 1) > 0.1
    np.testing.assert_allclose(raw / np.linalg.norm(raw), unit, atol=1e-6)


async def test_waiting_texts_of_many_requests_share_the_next_batch(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """While the thread computes, requests pile up and go together the moment it is free."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        others = [asyncio.create_task(worker.embed([f"other {place}"])) for place in range(8)]
        await _queued(worker, 8, settled)
        engine.gate.set()
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in engine.batches] == [1, 8]


async def test_all_batches_run_on_one_thread_that_is_not_the_loop_s(
    engine: ScriptedEngine, open_worker: OpenWorker
) -> None:
    """One thread owns the model, from the warm-up to the last batch."""
    async with open_worker() as worker:
        await asyncio.gather(*(worker.embed([f"text {place}"]) for place in range(20)))
    assert len(engine.threads) == 1
    assert engine.is_closed


async def test_a_full_queue_refuses_at_once_and_queues_nothing(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Over the limit the answer is immediate, says when to come back, and costs the others nothing."""
    async with open_worker(queue_items=4) as worker:
        first = await held(engine, worker)
        worker.require_room(["a", "b", "c"])
        with pytest.raises(Overloaded):
            worker.require_room(["a", "b", "c"], priority="bulk")
        waiting = asyncio.create_task(worker.embed(["a", "b", "c"]))
        await _queued(worker, 3, settled)
        with pytest.raises(Overloaded):
            worker.require_room(["one too many"])
        with pytest.raises(Overloaded) as refused:
            await worker.embed(["one too many"])
        assert refused.value.retry_after is not None
        assert worker.stats()["queue"] == {"depth": 4, "limit": 4, "waiting": 3}
        engine.gate.set()
        await asyncio.gather(first, waiting)
        assert worker.stats()["queue"]["depth"] == 0
    assert not any("too many" in text for batch in engine.batches for text in batch)


async def test_tokens_bound_the_queue_too(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Few but long texts fill the queue as well."""
    async with open_worker(queue_tokens=64) as worker:
        first = await held(engine, worker)
        with pytest.raises(Overloaded):
            await worker.embed(["word " * 100])
        engine.gate.set()
        await first


async def test_a_cancelled_request_is_never_computed(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Queued texts of a caller who left are dropped and their room is free at once."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        leaving = asyncio.create_task(worker.embed(["nobody waits"] * 3))
        staying = asyncio.create_task(worker.embed(["somebody waits"]))
        await _queued(worker, 4, settled)
        leaving.cancel()
        await settled()
        assert leaving.cancelled()
        assert worker.stats()["queue"]["depth"] == 2
        engine.gate.set()
        await asyncio.gather(first, staying)
    assert engine.batches == [["held"], ["somebody waits"]]


async def test_expired_work_is_answered_in_time_and_never_computed(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """The deadline is answered while the thread is still busy, and the text is not computed later."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        soon = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(DeadlineExceeded):
            await worker.embed(["too late"], deadline=soon)
        engine.gate.set()
        await first
        await worker.embed(["after"])
    assert ["too late"] not in engine.batches


async def test_a_deadline_in_the_past_computes_nothing(
    engine: ScriptedEngine, open_worker: OpenWorker
) -> None:
    """A request that arrives expired is refused without reaching the model."""
    async with open_worker() as worker:
        with pytest.raises(DeadlineExceeded):
            await worker.embed(["late"], deadline=asyncio.get_running_loop().time() - 1)
        await worker.embed(["after"])
    assert engine.batches == [["after"]]


async def test_one_bad_text_fails_its_own_request_only(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """In one batch with others, only the request with the bad text fails, and says which text it was."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        good = [asyncio.create_task(worker.embed([f"good {place}"])) for place in range(6)]
        bad = asyncio.create_task(worker.embed(["fine", "poison", "fine too"]))
        await _queued(worker, 9, settled)
        engine.gate.set()
        await asyncio.gather(first, *good)
        with pytest.raises(InternalError) as failed:
            await bad
        assert failed.value.details is not None
        assert failed.value.details["text"] == 1
        assert worker.is_alive()
        assert (await worker.embed(["still here"])).vectors.shape == (1, 384)


async def test_numbers_that_are_not_finite_never_leave_the_worker(open_worker: OpenWorker) -> None:
    """A text for which the model gives NaN fails instead of sending it."""
    async with open_worker() as worker:
        with pytest.raises(InternalError):
            await worker.embed(["nan"])


async def test_running_out_of_memory_costs_no_answer(open_worker: OpenWorker) -> None:
    """A batch too big for the device is computed in parts, and everybody is answered."""
    async with open_worker() as worker:
        embedded = await worker.embed(["huge text", "b", "c", "d"])
    assert np.isfinite(embedded.vectors).all()


async def test_a_dead_model_thread_fails_every_waiter_and_every_newcomer(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """When the device is lost, nobody is left hanging and `is_alive` says so."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        breaking = asyncio.create_task(worker.embed(["broken"]))
        waiting = asyncio.create_task(worker.embed(["waits " * 90]))
        await _queued(worker, 2, settled)
        assert worker.is_alive()
        engine.gate.set()
        await first
        for task in (breaking, waiting):
            with pytest.raises(InternalError, match="engine has died"):
                await task
        assert not worker.is_alive()
        with pytest.raises(InternalError, match="engine has died"):
            await worker.embed(["newcomer"])
    assert engine.is_closed


async def test_when_nothing_can_be_computed_any_more_the_engine_counts_as_lost(
    engine: ScriptedEngine, open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a plain sentence fails as well, it is not the text: the thread ends."""
    async with open_worker() as worker:
        monkeypatch.setattr(engine, "forward", always_failing)
        with pytest.raises(InternalError, match="engine has died"):
            await worker.embed(["anything"])


async def test_closing_answers_what_is_queued(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """The batch at hand is finished, the rest is told that the server shuts down, newcomers as well."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        queued = asyncio.create_task(worker.embed(["queued"]))
        await _queued(worker, 1, settled)
        closing = asyncio.create_task(worker.close())
        await settled()
        with pytest.raises(ShuttingDown):
            await queued
        with pytest.raises(ShuttingDown):
            await worker.embed(["newcomer"])
        engine.gate.set()
        await closing
        assert first.done()
        await first


async def test_a_text_that_is_too_long_is_refused_only_when_cutting_is_forbidden(
    engine: ScriptedEngine, open_worker: OpenWorker
) -> None:
    """Long texts are cut and flagged; with truncate=False the text is named and nothing computed."""
    texts = ["short", "word " * 300]
    async with open_worker() as worker:
        embedded = await worker.embed(texts)
        assert embedded.truncated == (False, True)
        engine.forget()
        with pytest.raises(TooLarge, match="Text 1"):
            await worker.embed(texts, truncate=False)
        assert worker.stats()["queue"]["depth"] == 0
    assert engine.batches == []


async def test_bulk_work_lets_interactive_work_pass(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """An interactive request queued behind bulk ones is computed before them."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        bulk = asyncio.create_task(worker.embed(["bulk text"], priority="bulk"))
        await _queued(worker, 1, settled)
        quick = asyncio.create_task(worker.embed(["interactive text"]))
        await _queued(worker, 2, settled)
        engine.gate.set()
        await asyncio.gather(first, bulk, quick)
    assert engine.batches == [["held"], ["interactive text"], ["bulk text"]]


async def test_the_figures_add_up(open_worker: OpenWorker) -> None:
    """Texts, tokens, batches and latencies are counted as the contract names them."""
    async with open_worker() as worker:
        await worker.embed(["one two", "three"])
        stats = worker.stats()
    assert (stats["texts"], stats["tokens"]) == (2, 7)
    assert stats["batch"]["count"] == 1
    assert stats["batch"]["last_texts"] == 2
    assert 0 < stats["batch"]["fill"] <= 1
    assert set(stats["latency_ms"]) == {"queue", "tokenize", "infer"}
    assert stats["latency_ms"]["infer"]["p99"] >= 0
    assert {"model", "device", "dimensions", "max_input_tokens", "backend", "dtype"} <= set(stats)
    assert "gpu" not in stats


async def _queued(worker: EmbeddingWorker, texts: int, settled: Settle) -> None:
    """Return once `texts` texts wait in the queue, tokenised, behind the one that is held."""
    while worker.stats()["queue"]["waiting"] < texts:
        await settled()
