"""What is read of the memories of one process: searches, look-ups, selections, long work with files.

It decides which thread reads what. It does not know how the store and the index come to be, nor what is
written: `memories` does.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from servers.errors import StoreOpening
from servers.memory.filters import EVERYTHING, Filter
from servers.memory.index import VectorIndex
from servers.memory.keywords import KeywordIndex
from servers.memory.search import Hit, Match, Search
from servers.memory.search_batches import SearchBatches
from servers.memory.store.base import Memory, Page, PageQuery, Selected, Selection, Store
from servers.memory.word_search import require_words, search_words

T = TypeVar("T")

READ_THREADS: Final = 2
"""Searches and look-ups that run at once; torch itself spreads one search over the cores."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One page of a search: every hit with its memory; `total` and `hidden` as in `Found`."""

    hits: list[tuple[Hit, Memory]]
    total: int
    hidden: int


class MemoryReads:
    """The reading half of `Memories`; its parts are there once the store is open and the index is built.

    `now_ms` tells the time in epoch milliseconds.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="memory-read")
        self._files = ThreadPoolExecutor(1, thread_name_prefix="memory-files")
        self._store: Store | None = None
        self._index: VectorIndex | None = None
        self._searches: SearchBatches | None = None
        self._keywords: KeywordIndex | None = None

    async def retrieve(
        self, search: Search, wanted: Filter, match: Match = "meaning", words: str = ""
    ) -> Retrieved:
        """Search among what passes the filter, by the search's vector, `words`, or both; read what was found.

        Raises InvalidRequest for a search by words where they are not indexed.
        """
        store, searches = opened(self._store), opened(self._searches)
        if wanted != EVERYTHING:
            allowed = await self._read(lambda: store.matching(search.namespace, wanted))
            search = replace(search, allowed=allowed)
        if match == "meaning":
            found = await searches.search(search)
        else:
            index, keywords = opened(self._index), require_words(self._keywords)
            found = await self._read(lambda: search_words(index, keywords, search, match, words))
        memories = await self._read(lambda: store.fetch([hit.seq for hit in found.hits]))
        hits = [(hit, memories[hit.seq]) for hit in found.hits if hit.seq in memories]
        return Retrieved(hits, found.total, found.hidden)

    async def find_many(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Return the memories of these ids that are neither deleted nor expired."""
        found = await self._read(lambda: opened(self._store).find_many(ids))
        now_ms = self.now_ms()
        return {key: memory for key, memory in found.items() if not _has_expired(memory, now_ms)}

    async def page(self, query: PageQuery) -> Page:
        """Return one page of the listing."""
        return await self._read(lambda: opened(self._store).page(query))

    async def select(self, selection: Selection, limit: int) -> Selected:
        """Return how many memories a selection holds, and the first `limit` of them."""
        return await self._read(lambda: opened(self._store).select(selection, limit))

    async def seqs_of(self, search: Search) -> list[int]:
        """Return the seqs that a search finds, in its order."""
        index = opened(self._index)
        return await self._read(lambda: [hit.seq for hit in index.search(search).hits])

    async def count_purgeable(self, ids: Sequence[str] | None, deleted_before_ms: int) -> int:
        """Return how many memories a purge would remove."""
        return await self._read(lambda: opened(self._store).count_purgeable(ids, deleted_before_ms))

    async def with_store(self, work: Callable[[Store], T]) -> T:
        """Run long work with files, such as a backup, in the one thread that is kept for it."""
        store = opened(self._store)
        return await asyncio.get_running_loop().run_in_executor(self._files, lambda: work(store))

    async def prepare(self, work: Callable[[], T]) -> T:
        """Run work that belongs to a request, but would keep the loop too long, on a reading thread."""
        return await self._read(work)

    async def _read(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


def opened(part: T | None) -> T:
    """Return a part that is there. Raises StoreOpening before it is."""
    if part is None:
        raise StoreOpening("The memory store is still opening.", retry_after=1.0)
    return part


def _has_expired(memory: Memory, now_ms: int) -> bool:
    return memory.expires_at_ms is not None and memory.expires_at_ms <= now_ms
