"""Identical texts are computed once for everybody who waits for them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest

from servers.embedding.engine import Tokens
from servers.embedding.worker import EmbeddingWorker
from servers.errors import InternalError
from tests.servers.embedding.crowding import computed, held, queued
from tests.servers.embedding.doubles import PATIENCE_S, ScriptedEngine

OpenWorker = Callable[..., AbstractAsyncContextManager[EmbeddingWorker]]
Settle = Callable[[], Awaitable[None]]


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
