"""The memories of one process: opens the store, keeps the index beside it, and answers reads and writes.

It decides what runs where (the loop, one thread that writes, a few that read) and in which order things
start and end. It does not know the wire. What a write means is `servers.memory.ledger`'s, what a search
means `index`'s.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from servers.embedding.engine import ModelInfo
from servers.embedding.worker import EmbeddingWorker
from servers.memory.group_commit import GroupCommit
from servers.memory.indexing import open_index
from servers.memory.jobs import Job, Outcome
from servers.memory.keywords import KeywordIndex
from servers.memory.ledger import Ledger
from servers.memory.loading import ROWS_PER_STEP, fill
from servers.memory.memory_reads import MemoryReads, opened
from servers.memory.metrics import CommitMetrics
from servers.memory.room import Room
from servers.memory.search_batches import SearchBatches
from servers.memory.settings import MemorySettings
from servers.memory.stats import Counts
from servers.memory.store.base import ModelMark, Store
from servers.memory.sweep import keep_sweeping, sweep_if_possible
from servers.memory.verification import Verification
from servers.readiness import Readiness

log = logging.getLogger(__name__)

T = TypeVar("T")


class Memories(MemoryReads):
    """The store, its index and its writer, from `start` until `stop`; all other methods only in between.

    `open_store` opens the durable store and blocks; `now_ms` tells the time in epoch milliseconds.
    """

    def __init__(
        self,
        settings: MemorySettings,
        worker: EmbeddingWorker,
        readiness: Readiness,
        *,
        open_store: Callable[[], Store],
        now_ms: Callable[[], int],
        metrics: CommitMetrics,
    ) -> None:
        super().__init__(now_ms)
        self._settings = settings
        self._worker = worker
        self._readiness = readiness
        self._open_store = open_store
        self._metrics = metrics
        self._sweeper: asyncio.Task[None] | None = None
        self._verification: Verification | None = None
        self._writer: GroupCommit[Job, Outcome] | None = None

    async def start(self) -> None:
        """Open the store, load the model, rebuild the index, then report readiness. Raises StartupError."""
        self._readiness.enter("open-store")
        await self._open_and_load()
        info = self._worker.info
        self._readiness.enter("index", 0.0)
        await self._read(lambda: self._build_index(_mark(info), info.device))
        await sweep_if_possible(self.change, self.now_ms, self._settings.undo_ms)
        sweeping = keep_sweeping(self.change, self.now_ms, self._settings.undo_ms)
        self._sweeper = asyncio.create_task(sweeping, name="memory-sweep")
        self._verification = Verification(opened(self._store))
        self._readiness.ready(info.device)

    async def _open_and_load(self) -> None:
        """Open the store while the model loads: the check of a large store leaves a core to it."""
        both = [
            asyncio.ensure_future(self._read(self._open)),
            asyncio.ensure_future(self._worker.start(self._readiness.enter)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)
        for one in both:
            if not one.cancelled():
                one.result()

    async def stop(self) -> None:
        """Commit what is queued and let go of everything; also after a `start` that was cut short."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
        if self._verification is not None:
            await asyncio.to_thread(self._verification.stop)
        if self._searches is not None:
            await self._searches.close()
        # The threads that read go first: a start that was cut short may still be making the writer in one.
        for threads in (self._readers, self._files):
            await asyncio.to_thread(threads.shutdown, wait=True, cancel_futures=True)
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
        if self._index is not None:
            await asyncio.to_thread(self._index.close)
        await self._worker.close()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def is_alive(self) -> bool:
        """Say whether texts can be embedded and memories be written, into a store that is sound."""
        if self._verification is not None and self._verification.found_damage:
            return False
        return self._worker.is_alive() and self._writer is not None and self._writer.is_alive()

    @property
    def model(self) -> ModelMark:
        """The model whose vectors the store holds; raises RuntimeError before the worker has started."""
        return _mark(self._worker.info)

    async def change(self, job: Job) -> Outcome:
        """Have a change committed; returns once it is on the disk and shown to every search."""
        return await opened(self._writer).submit(job, job.rows)

    async def counts(self) -> Counts | None:
        """Return facts for `stats`, None while the index is not built."""
        index, writer = self._index, self._writer
        if index is None or writer is None:
            return None
        visible, active = await self._read(
            lambda: index.counts(self.now_ms(), self._settings.significance_threshold)
        )
        info = await self._read(lambda: opened(self._store).info())
        return Counts(visible, active, writer.depth, info, index.state())

    def _open(self) -> None:
        # Kept by the thread that opened it, so that a start that is cancelled meanwhile still closes it.
        self._store = self._open_store()

    def _build_index(self, model: ModelMark, device: str) -> None:
        store = opened(self._store)
        store.bind_model(model)
        total, done = store.count(), 0
        index = open_index(
            model.dimensions,
            device,
            rows=total,
            memory_bytes=self._settings.index_memory,
            folder=self._settings.index_folder,
        )

        def show_progress(rows: int) -> None:
            nonlocal done
            done += rows
            self._readiness.enter("index", min(1.0, done / max(1, total)))

        with ExitStack() as undo:
            undo.callback(index.close)
            fill(index.columns, store, show_progress)
            undo.pop_all()
        if self._settings.keyword_search:
            self._keywords = KeywordIndex()
            for memories in store.read_all(None, ROWS_PER_STEP):
                self._keywords.put((memory.seq, memory.text) for memory in memories)
        ledger = Ledger(
            store,
            index,
            self._settings.rules,
            self.now_ms,
            Room(self._settings.max_memories, self._settings.max_namespaces, index.columns.rows_left),
            self._keywords,
        )
        self._index = index
        self._searches = SearchBatches(index.search_many)
        writer = GroupCommit(
            ledger.commit, queue_rows=self._settings.write_queue_rows, on_commit=self._metrics.record
        )
        self._metrics.watch(lambda: writer.depth)
        self._writer = writer
        log.info("%d memories are ready to be searched on %s", done, device)


def _mark(info: ModelInfo) -> ModelMark:
    # The debug engine's hashes must never be taken for the vectors of the model whose name it borrows.
    return ModelMark(info.name if info.backend != "debug" else "debug", info.dimensions)
