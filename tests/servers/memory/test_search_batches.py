"""Searches that come while one runs share the next pass; a bad one fails alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from servers.memory.search import Found, Search
from servers.memory.search_batches import MOST_TOGETHER, SearchBatches


def a_search(number: int) -> Search:
    """A search that can be told from others by its count."""
    return Search("default", 0, number)


@dataclass
class Index:
    """Finds nothing, but notes which searches came together, and holds them while its gate is shut."""

    batches: list[list[int]] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Event = field(default_factory=threading.Event)
    poison: int | None = None

    def search_many(self, searches: Sequence[Search]) -> list[Found]:
        """The total of each answer is the count of its search."""
        self.batches.append([search.count for search in searches])
        self.begun.release()
        self.gate.wait()
        if any(search.count == self.poison for search in searches):
            raise ZeroDivisionError("a bad one")
        return [Found([], search.count, 0) for search in searches]


@pytest.fixture
def index() -> Index:
    """An index whose gate is open."""
    made = Index()
    made.gate.set()
    return made


@pytest.fixture
async def batches(index: Index) -> AsyncIterator[SearchBatches]:
    """Batches over that index, closed at the end."""
    made = SearchBatches(index.search_many)
    yield made
    index.gate.set()
    await made.close()


async def begin(index: Index, batches: SearchBatches, number: int) -> "asyncio.Task[Found]":
    """A search that has reached the index and is held there."""
    index.gate.clear()
    task = asyncio.create_task(batches.search(a_search(number)))
    await asyncio.to_thread(index.begun.acquire)
    return task


async def ask(batches: SearchBatches, *numbers: int) -> "list[asyncio.Task[Found]]":
    """Searches that wait behind what runs."""
    tasks = [asyncio.create_task(batches.search(a_search(number))) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_what_waits_is_searched_together(index: Index, batches: SearchBatches) -> None:
    """One search runs at once; those that come meanwhile are one batch, each with its own answer."""
    first = await begin(index, batches, 1)
    rest = await ask(batches, 2, 3, 4)
    index.gate.set()
    assert [found.total for found in await asyncio.gather(first, *rest)] == [1, 2, 3, 4]
    assert index.batches == [[1], [2, 3, 4]]


async def test_a_batch_has_an_end(index: Index, batches: SearchBatches) -> None:
    """More than a batch holds go in several."""
    first = await begin(index, batches, 1)
    rest = await ask(batches, *range(2, MOST_TOGETHER + 4))
    index.gate.set()
    await asyncio.gather(first, *rest)
    assert [len(batch) for batch in index.batches] == [1, MOST_TOGETHER, 2]


async def test_a_bad_search_fails_alone(index: Index, batches: SearchBatches) -> None:
    """The others of its batch are answered, one by one."""
    index.poison = 3
    first = await begin(index, batches, 1)
    good, bad, other = await ask(batches, 2, 3, 4)
    index.gate.set()
    assert [(await task).total for task in (first, good, other)] == [1, 2, 4]
    with pytest.raises(ZeroDivisionError, match="bad"):
        await bad


async def test_cancelled_searches_are_dropped(index: Index, batches: SearchBatches) -> None:
    """Nobody waits any more: the index is not asked; one that has begun goes to its end unheard."""
    first = await begin(index, batches, 1)
    dropped, kept = await ask(batches, 2, 3)
    dropped.cancel()
    first.cancel()
    index.gate.set()
    assert (await kept).total == 3
    assert index.batches == [[1], [3]]


async def test_closing_drops_what_waits(index: Index) -> None:
    """A search that has begun is answered, one that waits is cancelled."""
    batches = SearchBatches(index.search_many)
    first = await begin(index, batches, 1)
    (waiting,) = await ask(batches, 2)
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    index.gate.set()
    await closing
    assert (await first).total == 1
    with pytest.raises(asyncio.CancelledError):
        await waiting
