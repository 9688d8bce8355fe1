"""Searches in batches without a timer: whatever came while the searcher was busy is searched as one.

It decides which searches share a pass over the memories and when their waiters learn of it; it does not know
how a search is done. A lone search never waits for company; under load every pass serves all that arrived
during the last one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from servers.memory.search import Found, Search

log = logging.getLogger(__name__)

MOST_TOGETHER: Final = 64
"""Searches of one batch, so that nobody waits long for the others of it."""


class SearchBatches:
    """Runs `search_many`, which blocks, in one named thread for all who ask on one event loop, until `close`.

    `search_many` returns one result per search, in order.
    """

    def __init__(self, search_many: Callable[[Sequence[Search]], Sequence[Found]]) -> None:
        self._search_many = search_many
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memory-search")
        self._waiting: deque[tuple[Search, asyncio.Future[Found]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def search(self, search: Search) -> Found:
        """Return what the search finds. Cancelling drops it, unless its batch has begun."""
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((search, answer))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="memory-search")
        return await answer

    async def close(self) -> None:
        """Drop what waits, let the thread end what it has begun; nothing may be asked afterwards."""
        for _, answer in self._waiting:
            answer.cancel()
        if self._runner is not None:
            await asyncio.wait({self._runner})
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        while self._waiting:
            batch: list[tuple[Search, asyncio.Future[Found]]] = []
            while self._waiting and len(batch) < MOST_TOGETHER:
                search, answer = self._waiting.popleft()
                if not answer.done():
                    batch.append((search, answer))
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[tuple[Search, "asyncio.Future[Found]"]]) -> None:
        searches = [search for search, _ in batch]
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._search_many, searches
            )
        except Exception as error:  # its waiters must learn of it, and the others of the batch be served
            if len(batch) > 1:
                log.warning("a batch of %d searches failed; they are searched one by one", len(batch))
                for alone in batch:
                    await self._answer([alone])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, answer), one in zip(batch, found, strict=True):
            if not answer.done():
                answer.set_result(one)
