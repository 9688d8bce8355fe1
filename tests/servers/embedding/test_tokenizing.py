"""The tokenizing stage: in order within a request, in turn between requests, a chunk at a time."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from servers.embedding.engine import Tokens
from servers.embedding.pending import PendingRequest, QueuedText, TextsUnderway
from servers.embedding.tokenizing import CHUNK_TEXTS, THREADS, TokenizingStage
from tests.servers.embedding.doubles import PATIENCE_S, ScriptedEngine


class Gated(ScriptedEngine):
    """An engine whose tokenizer waits for a gate and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizing = threading.Semaphore(0)
        self.may_tokenize = threading.Semaphore(0)
        self.chunks: list[list[str]] = []

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Announce the chunk, wait to be let through."""
        self.chunks.append(list(texts))
        self.tokenizing.release()
        assert self.may_tokenize.acquire(timeout=PATIENCE_S)
        return super().tokenize(texts)


class Queue:
    """Takes down what the stage says."""

    def __init__(self) -> None:
        self.entries: list[QueuedText] = []
        self.whole: list[PendingRequest] = []
        self.refused: list[tuple[PendingRequest, Exception]] = []
        self.told = threading.Semaphore(0)

    def on_tokens(self, entries: Sequence[QueuedText]) -> None:
        """Remember entries."""
        self.entries += entries
        self.told.release()

    def on_tokenized(self, request: PendingRequest) -> None:
        """Remember a whole request."""
        self.whole.append(request)

    def on_refused(self, request: PendingRequest, error: Exception) -> None:
        """Remember a refusal."""
        self.refused.append((request, error))
        self.told.release()

    async def told_times(self, times: int) -> None:
        """Return once that many calls came."""
        for _ in range(times):
            assert await asyncio.to_thread(self.told.acquire, timeout=PATIENCE_S)


@pytest.fixture
def gated() -> Gated:
    """An engine with a gate."""
    return Gated()


@pytest.fixture
def queue() -> Queue:
    """A listener."""
    return Queue()


@pytest.fixture
def stage(gated: Gated, queue: Queue) -> Iterator[TokenizingStage]:
    """A stage, ended afterwards."""
    stage = TokenizingStage(gated, queue)
    yield stage
    stage.close()
    for _ in range(100):
        gated.may_tokenize.release()


def request_of(*texts: str, truncate: bool = True) -> PendingRequest:
    """A request that has joined."""
    request = PendingRequest(texts, 384, truncate=truncate)
    TextsUnderway().join(request)
    return request


async def entered(gated: Gated, times: int) -> None:
    """Return once that many chunks have begun."""
    for _ in range(times):
        assert await asyncio.to_thread(gated.tokenizing.acquire, timeout=PATIENCE_S)


async def test_what_comes_in_meanwhile_is_tokenised_together(
    stage: TokenizingStage, gated: Gated, queue: Queue
) -> None:
    """While every thread is busy requests pile up; the next free one takes them all."""
    for number in range(THREADS):
        stage.put(request_of(f"busy {number}"))
        await entered(gated, 1)
    for number in range(10):
        stage.put(request_of(f"text {number}"))
    gated.may_tokenize.release()
    await entered(gated, 1)
    assert gated.chunks[-1] == [f"text {number}" for number in range(10)]
    for _ in range(THREADS):
        gated.may_tokenize.release()
    await queue.told_times(THREADS + 1)
    assert len(queue.entries) == THREADS + 10


async def test_a_large_request_goes_in_chunks_behind_what_came_meanwhile(
    stage: TokenizingStage, gated: Gated, queue: Queue
) -> None:
    """A single text does not wait for the whole of another request; the rows of that stay in order."""
    texts = [f"large {place}" for place in range(3 * CHUNK_TEXTS + 5)]
    large, single = request_of(*texts), request_of("single")
    stage.put(large)
    await entered(gated, 1)
    stage.put(request_of("keeps the other thread busy"))
    await entered(gated, 1)
    stage.put(single)
    for _ in range(50):
        gated.may_tokenize.release()
    await queue.told_times(5)
    assert max(map(len, gated.chunks)) <= CHUNK_TEXTS
    order = [entry.request for entry in queue.entries]
    assert order.index(single) < len(order) - 1
    of_large = [entry.shared.text for entry in queue.entries if entry.request is large]
    assert of_large == texts
    assert large in queue.whole


async def test_a_request_that_was_left_is_not_tokenised(
    stage: TokenizingStage, gated: Gated, queue: Queue
) -> None:
    """Who departs while the threads are busy costs nothing."""
    for number in range(THREADS):
        stage.put(request_of(f"busy {number}"))
        await entered(gated, 1)
    left, stays = request_of("left"), request_of("stays")
    stage.put(left)
    stage.put(stays)
    left.depart()
    for _ in range(10):
        gated.may_tokenize.release()
    await queue.told_times(THREADS + 1)
    assert ["stays"] in gated.chunks
    assert left not in queue.whole


async def test_with_truncate_false_nothing_is_queued_before_all_texts_fit(
    stage: TokenizingStage, gated: Gated, queue: Queue
) -> None:
    """A text at the end that is too long refuses the whole request; one that fits releases all at once."""
    gated.may_tokenize.release(100)
    fits = [f"text {place}" for place in range(CHUNK_TEXTS + 1)]
    bad = request_of(*fits, "word " * 300, truncate=False)
    stage.put(bad)
    await queue.told_times(1)
    assert [request for request, _ in queue.refused] == [bad]
    assert queue.entries == []
    stage.put(request_of(*fits, truncate=False))
    await queue.told_times(1)
    assert [entry.shared.text for entry in queue.entries] == fits


async def test_a_closed_stage_ends_its_threads(gated: Gated, queue: Queue) -> None:
    """They end after their chunk, whatever is still queued."""
    stage = TokenizingStage(gated, queue)
    gated.may_tokenize.release(100)
    stage.put(request_of("one"))
    await queue.told_times(1)
    assert stage.is_alive()
    stage.close()
    for thread in stage._threads:
        await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not stage.is_alive()
