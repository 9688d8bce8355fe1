"""One function per command of the memory server (protocol.md section 4).

It decides how a validated request becomes work and how the result becomes a payload. It does not know
connections, threads or SQL.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from servers.embedding.worker import EmbeddingWorker, Priority
from servers.errors import NotFound, TooLarge
from servers.memory.command_group import CommandGroup, Payload
from servers.memory.ids import new_id
from servers.memory.jobs import DeleteJob, Draft, StoreJob
from servers.memory.memories import Memories
from servers.memory.requests import (
    DEFAULT_NAMESPACE,
    IdsRequest,
    ListRequest,
    Nothing,
    RetrieveRequest,
    StoreItem,
    StoreRequest,
    write_cursor,
)
from servers.memory.scoring import RankWeights
from servers.memory.search import Search
from servers.memory.settings import MemorySettings
from servers.memory.stats import stats_object
from servers.memory.store.base import Memory, PageQuery
from servers.memory.wire import hit_object, memory_object, stored_object
from servers.protocol import require_length
from servers.scoring_terms import information
from servers.service import Command, RequestContext
from servers.telemetry import Telemetry

Vector = npt.NDArray[np.float32]

SMALL_ITEMS: Final = 4
"""So few memories, with so few characters in all, are drafted in less time than handing them over takes."""
SMALL_CHARS: Final = 4096


class Handlers(CommandGroup):
    """The commands over one `Memories`."""

    def __init__(
        self, settings: MemorySettings, memories: Memories, worker: EmbeddingWorker, telemetry: Telemetry
    ) -> None:
        super().__init__(settings, memories, worker)
        self._telemetry = telemetry

    def commands(self) -> tuple[Command, ...]:
        """Return the everyday commands; `servers.memory.upkeep` and `transfers` have the others."""
        return (
            Command("store", StoreRequest, self.store),
            Command("retrieve", RetrieveRequest, self.retrieve),
            Command("get", IdsRequest, self.get),
            Command("delete", IdsRequest, self.delete),
            Command("list", ListRequest, self.page),
            Command("stats", Nothing, self.stats, needs_ready=False),
        )

    async def store(self, context: RequestContext, request: StoreRequest) -> Payload:
        """Embed what comes without a vector, have it scored and written; answer once it is on the disk."""
        self._check_sizes(request)
        texts = [item.text for item in request.items if item.embedding is None]
        vectors: list[Vector] = []
        if texts:
            priority: Priority = "bulk" if len(texts) > 1 else "interactive"
            with context.timed("embed"):
                embedded = await self._worker.embed(texts, priority=priority, deadline=context.deadline)
            vectors = list(embedded.vectors)
        now_ms = self._memories.now_ms()
        draft = partial(drafts_of, request.items, vectors, now_ms)
        drafts = draft() if _is_small(request.items) else await self._memories.prepare(draft)
        # From here on the commit goes through whatever becomes of the client: see GroupCommit.submit.
        with context.timed("commit"):
            outcome = await self._memories.change(StoreJob(drafts))
        stored = [stored_object(memory) for memory in outcome.memories]
        payload = {"items": stored, "count": len(stored)} if request.is_batch else stored[0]
        return payload | {"stats": self._counts(outcome)}

    async def retrieve(self, context: RequestContext, request: RetrieveRequest) -> Payload:
        """Answer the memories that matter most, for a query or at all."""
        query = await self._query_vector(context, request.query)
        weights = self._weights(request)
        search = Search(
            namespace=request.namespace,
            now_ms=self._memories.now_ms(),
            count=request.count,
            offset=request.offset,
            min_significance=request.min_significance,
            sort=request.sort or ("significance" if query is None else "relevance"),
            query=query,
            weights=weights,
            half_life_ms=self._settings.half_life_ms,
        )
        with context.timed("search"):
            found = await self._memories.retrieve(search, request.wanted, request.match, request.query)
        return {
            "memories": [hit_object(hit, memory, weights, request.shown) for hit, memory in found.hits],
            "count": len(found.hits),
            "total": found.total,
            "hidden_by_significance": found.hidden,
        }

    async def get(self, context: RequestContext, request: IdsRequest) -> Payload:
        """Answer the memories of the ids asked for, in that order, and which of the ids name none."""
        found = await self._memories.find_many(request.all_ids)
        missing = [memory_id for memory_id in request.all_ids if memory_id not in found]
        if request.ids is None and missing:
            raise not_found(missing, "`list` shows the ids that exist")
        objects = [memory_object(found[key], request.include) for key in request.all_ids if key in found]
        single = {"memory": objects[0]} if request.ids is None else {}
        return single | {"memories": objects, "count": len(objects), "missing": missing}

    async def delete(self, context: RequestContext, request: IdsRequest) -> Payload:
        """Hide the memories of the ids, and answer them as they were; `restore` brings them back."""
        with context.timed("commit"):
            outcome = await self._memories.change(DeleteJob(request.all_ids))
        if request.ids is None and not outcome.memories:
            raise not_found(outcome.missing, "`list` shows the ids that can be deleted")
        ids = [memory.id for memory in outcome.memories]
        objects = [memory_object(memory, request.include) for memory in outcome.memories]
        single = {"memory": objects[0]} if request.ids is None else {}
        gone = {"deleted": len(ids), "ids": ids, "memories": objects, "missing": outcome.missing}
        return single | gone | {"stats": self._counts(outcome)}

    async def page(self, context: RequestContext, request: ListRequest) -> Payload:
        """Answer one page of all memories, newest stored first."""
        page = await self._memories.page(
            PageQuery(
                namespace=request.namespace,
                limit=request.limit,
                now_ms=self._memories.now_ms(),
                before_seq=request.cursor,
                wanted=request.wanted,
                deleted=request.deleted,
            )
        )
        return {
            "memories": [memory_object(memory, request.include) for memory in page.memories],
            "count": len(page.memories),
            "next_cursor": None if page.next_before_seq is None else write_cursor(page.next_before_seq),
        }

    async def stats(self, context: RequestContext, request: Nothing) -> Payload:
        """Answer what the process is doing; counts are null until the store is open."""
        counts = await self._memories.counts()
        return {
            "stats": stats_object(self._telemetry.snapshot(), self._worker.stats(), counts, self._settings)
        }

    def _check_sizes(self, request: StoreRequest) -> None:
        if len(request.items) > self._settings.max_request_texts:
            raise TooLarge(
                f"items: at most {self._settings.max_request_texts} memories in one request; got "
                f"{len(request.items)}. Send several requests.",
                details={
                    "field": "items",
                    "limit": self._settings.max_request_texts,
                    "got": len(request.items),
                },
            )
        for place, item in enumerate(request.items):
            prefix = f"items.{place}." if request.is_batch else ""
            self._limits.check(item.text, item.metadata, prefix)
            if item.embedding is not None:
                self._limits.check_vector(item.embedding, self._worker.info.dimensions, prefix)

    async def _query_vector(self, context: RequestContext, query: str) -> Vector | None:
        if not query.strip():
            return None
        require_length(query, self._settings.max_text_chars, field_name="query")
        with context.timed("embed"):
            embedded = await self._worker.embed([query], deadline=context.deadline)
        vector: Vector = embedded.vectors[0]
        return vector

    def _weights(self, request: RetrieveRequest) -> RankWeights:
        given = request.weights.model_dump(exclude_none=True)
        return replace(self._settings.rank_weights, **given)


def not_found(ids: Sequence[str], hint: str) -> NotFound:
    """The refusal of a single id that names nothing; `hint` says how to find those that exist."""
    return NotFound(f"There is no such memory: {ids[0]!r}; {hint}.", details={"ids": list(ids)})


def _is_small(items: Sequence[StoreItem]) -> bool:
    return len(items) <= SMALL_ITEMS and sum(len(item.text) for item in items) <= SMALL_CHARS


def drafts_of(items: Sequence[StoreItem], embedded: Sequence[Vector], now_ms: int) -> list[Draft]:
    """The drafts of the items; `embedded` are the vectors of those that came without one, in order."""
    vectors = iter(embedded)
    return [
        Draft(
            memory=_memory(
                item,
                next(vectors) if item.embedding is None else np.array(item.embedding, np.float32),
                now_ms,
            ),
            information=information(item.text),
            significance=item.significance,
            surprise=item.surprise,
            is_named=item.id is not None,
        )
        for item in items
    ]


def _memory(item: StoreItem, vector: Vector, now_ms: int) -> Memory:
    return Memory(
        id=item.id or new_id(now_ms),
        namespace=item.namespace or DEFAULT_NAMESPACE,
        text=item.text,
        timestamp_ms=now_ms if item.timestamp is None else item.timestamp,
        significance=0.0,
        surprise=0.0,
        type=item.type,
        tags=item.tags,
        metadata=item.metadata,
        vector=vector,
        expires_at_ms=item.expires_at,
    )
