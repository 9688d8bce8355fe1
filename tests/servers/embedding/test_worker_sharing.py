"""What requests share and what they do not: identical texts, turns, the queue, and time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from servers.embedding.engine import OnPhase, Tokens
from servers.embedding.worker import INTERACTIVE_TEXTS, EmbeddingWorker
from servers.errors import DeadlineExceeded, InternalError, Overloaded, TooLarge
from servers.settings import EmbeddingSettings
from tests.servers.embedding.doubles import PATIENCE_S, ScriptedEngine

OpenWorker = Callable[..., AbstractAsyncContextManager[EmbeddingWorker]]
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


async def test_a_text_that_several_wait_for_is_computed_once(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Identical texts share one computation, raw or normalised, and everybody gets the same vector."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        same = [asyncio.create_task(worker.embed(["same", "same"], client=place)) for place in range(5)]
        raw = asyncio.create_task(worker.embed(["same"], normalize=False))
        await queued(worker, 11, settled)
        engine.gate.set()
        answers = await asyncio.gather(*same)
        await first
    assert computed(engine).count("same") == 1
    for answer in answers:
        np.testing.assert_array_equal(answer.vectors, answers[0].vectors[[0, 0]])
    long = (await raw).vectors[0]
    np.testing.assert_allclose(long / np.linalg.norm(long), answers[0].vectors[0], atol=1e-6)


async def test_one_who_leaves_takes_nothing_from_those_who_share(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """The first of three who asked for a text is cancelled, the others get it, once."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        asking = [asyncio.create_task(worker.embed(["shared"])) for _ in range(3)]
        await queued(worker, 3, settled)
        asking[0].cancel()
        await settled()
        engine.gate.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        await first
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(not isinstance(answer, BaseException) for answer in answers[1:])
    assert computed(engine).count("shared") == 1


async def test_a_text_that_is_being_computed_can_still_be_joined(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Whoever asks for the text at hand gets its vector too; asked for later, it is computed anew."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        joining = asyncio.create_task(worker.embed(["held"]))
        await settled()
        engine.gate.set()
        _, joined = await asyncio.gather(first, joining)
        assert (joined.tokens, joined.truncated) == ((3,), (False,))
        assert computed(engine) == ["held"]
        await worker.embed(["held"])
    assert computed(engine) == ["held", "held"]


async def test_who_joins_a_text_knows_its_tokens_though_its_own_were_never_read(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vector may come before a request's own texts are tokenised; its usage is right all the same."""
    gate, tokenize = threading.Event(), engine.tokenize

    def waiting(texts: list[str]) -> list[Tokens]:
        assert gate.wait(PATIENCE_S)
        return tokenize(texts)

    async with open_worker() as worker:
        long = "word " * 300
        engine.gate.clear()
        first = asyncio.create_task(worker.embed([long]))
        await engine.wait_for_forward()
        monkeypatch.setattr(engine, "tokenize", waiting)
        joining = asyncio.create_task(worker.embed([long]))
        await settled()
        engine.gate.set()
        await first
        joined = await joining
        gate.set()
    assert (joined.tokens, joined.truncated) == ((256,), (True,))


async def test_sharing_with_bulk_work_is_not_waiting_with_it(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """An interactive request for a text that a bulk one also waits for is served in its own lane."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        bulk = asyncio.create_task(worker.embed(["both want this", "bulk only"], priority="bulk"))
        await queued(worker, 2, settled)
        quick = asyncio.create_task(worker.embed(["both want this"]))
        await queued(worker, 3, settled)
        engine.gate.set()
        await asyncio.gather(first, bulk, quick)
    assert engine.batches == [["held"], ["both want this"], ["bulk only"]]


async def test_a_bad_text_fails_everybody_who_shares_it_under_their_own_number(
    engine: ScriptedEngine, open_worker: OpenWorker, settled: Settle
) -> None:
    """Each learns which of its own texts it was."""
    async with open_worker() as worker:
        first = await held(engine, worker)
        one = asyncio.create_task(worker.embed(["poison"]))
        other = asyncio.create_task(worker.embed(["fine", "also fine", "poison"]))
        await queued(worker, 4, settled)
        engine.gate.set()
        for task, place in ((one, 0), (other, 2)):
            with pytest.raises(InternalError) as failed:
                await task
            assert failed.value.details is not None
            assert failed.value.details["text"] == place
        await first
        assert worker.stats()["queue"]["depth"] == 0


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
