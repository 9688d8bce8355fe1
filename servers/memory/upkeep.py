"""The commands that alter, forget, move and secure memories (protocol.md section 4).

It decides how a validated request becomes a change or a file and how the result becomes a payload, as
`servers.memory.handlers` does for the everyday commands.
"""

from collections.abc import Callable
from typing import Final
from uuid import uuid4

import numpy as np

from servers.errors import NotFound
from servers.memory.command_group import CommandGroup, Payload
from servers.memory.handlers import not_found
from servers.memory.instants import iso_utc
from servers.memory.jobs import ForgetJob, Patch, PurgeJob, RestoreJob, UndoJob, UpdateJob
from servers.memory.requests import MAX_COUNT, write_cursor
from servers.memory.search import Search
from servers.memory.store.base import Memory, PageQuery, Selection
from servers.memory.upkeep_requests import (
    DuplicatesRequest,
    ForgetRequest,
    PurgeRequest,
    RestoreRequest,
    UpdateRequest,
)
from servers.memory.wire import memory_object
from servers.scoring_terms import information
from servers.service import Command, RequestContext

PURGE_ROWS: Final = 512
"""Memories that one commit removes for good, so that stores need not wait for long purges."""
EVERYTHING_BEYOND: Final = 2**31
"""More than any store holds: a count that never cuts."""


class Upkeep(CommandGroup):
    """The rarer commands over one `Memories`."""

    def commands(self) -> tuple[Command, ...]:
        """Return the commands of this kind."""
        return (
            Command("update", UpdateRequest, self.update),
            Command("restore", RestoreRequest, self.restore),
            Command("forget", ForgetRequest, self.forget),
            Command("purge", PurgeRequest, self.purge),
            Command("duplicates", DuplicatesRequest, self.duplicates),
        )

    async def update(self, context: RequestContext, request: UpdateRequest) -> Payload:
        """Change memories where they are; a new text is embedded and scored as if it were stored now."""
        patch = await self._patch(context, request)
        with context.timed("commit"):
            outcome = await self._memories.change(UpdateJob(request.all_ids, patch))
        if request.ids is None and not outcome.memories:
            raise not_found(outcome.missing, "`list` shows the ids that exist")
        objects = [memory_object(memory, request.include) for memory in outcome.memories]
        single = {"memory": objects[0]} if request.ids is None else {}
        changed = {"updated": len(objects), "memories": objects, "missing": outcome.missing}
        return single | changed | {"stats": self._counts(outcome)}

    async def restore(self, context: RequestContext, request: RestoreRequest) -> Payload:
        """Bring deleted or forgotten memories back."""
        if request.undo is not None:
            with context.timed("commit"):
                outcome = await self._memories.change(UndoJob(request.undo))
            if not outcome.memories:
                raise NotFound(
                    f"Nothing that {request.undo!r} forgot is left to be brought back: it was restored or "
                    "purged before, or there never was such a forget.",
                    details={"undo": request.undo},
                )
        else:
            with context.timed("commit"):
                outcome = await self._memories.change(RestoreJob(request.all_ids))
            if request.ids is None and not outcome.memories:
                raise not_found(
                    outcome.missing, "`list` with deleted = true shows the ids that can be restored"
                )
        ids = [memory.id for memory in outcome.memories]
        shown = {"restored": len(ids), "ids": ids[:MAX_COUNT], "missing": outcome.missing}
        return shown | {"stats": self._counts(outcome)}

    async def forget(self, context: RequestContext, request: ForgetRequest) -> Payload:
        """Hide everything that the request describes, or only say what that would be."""
        selection = await self._selection(request)
        if request.dry_run:
            found = await self._memories.select(selection, MAX_COUNT)
            ids = [memory.id for memory in found.memories]
            would = {"forgotten": 0, "would_forget": found.total, "count": found.total}
            return would | {"ids": ids, "dry_run": True, "undo": None}
        job = ForgetJob(selection, deletion=f"forget-{uuid4()}")
        with context.timed("commit"):
            outcome = await self._memories.change(job)
        count = len(outcome.affected)
        return {
            "forgotten": count,
            "count": count,
            "ids": outcome.affected[:MAX_COUNT],
            "dry_run": False,
            "undo": job.deletion if count else None,
            "undo_until": iso_utc(self._memories.now_ms() + self._settings.undo_ms) if count else None,
            "stats": self._counts(outcome),
        }

    async def purge(self, context: RequestContext, request: PurgeRequest) -> Payload:
        """Remove deleted memories for good: the named ones now, others once their time for undo is over."""
        now_ms = self._memories.now_ms()
        bound = request.deleted_before
        before_ms = now_ms - self._settings.undo_ms if bound is None else bound.at(now_ms)
        if request.dry_run:
            would = await self._memories.count_purgeable(request.ids, before_ms)
            return {"purged": 0, "would_purge": would, "dry_run": True}
        if request.ids is not None:
            with context.timed("commit"):
                outcome = await self._memories.change(PurgeJob(before_ms, MAX_COUNT, tuple(request.ids)))
            return {"purged": outcome.count, "dry_run": False}
        with context.timed("commit"):
            purged = await self._repeat(lambda: PurgeJob(before_ms, PURGE_ROWS))
        return {"purged": purged, "dry_run": False}

    async def duplicates(self, context: RequestContext, request: DuplicatesRequest) -> Payload:
        """Answer one page of the memories that repeated another when they were stored, with that other."""
        page = await self._memories.page(
            PageQuery(
                namespace=request.namespace,
                limit=request.limit,
                now_ms=self._memories.now_ms(),
                before_seq=request.cursor,
                wanted=request.wanted,
                duplicates=True,
            )
        )
        originals = [memory.duplicate_of for memory in page.memories if memory.duplicate_of is not None]
        found = await self._memories.find_many(list(dict.fromkeys(originals)))
        return {
            "duplicates": [_pair(memory, found) for memory in page.memories],
            "count": len(page.memories),
            "next_cursor": None if page.next_before_seq is None else write_cursor(page.next_before_seq),
        }

    async def _patch(self, context: RequestContext, request: UpdateRequest) -> Patch:
        self._limits.check(request.text or "", request.metadata or {})
        vector = None
        if request.embedding is not None:
            self._limits.check_vector(request.embedding, self._worker.info.dimensions)
            vector = np.array(request.embedding, np.float32)
        elif request.text is not None:
            with context.timed("embed"):
                embedded = await self._worker.embed([request.text], deadline=context.deadline)
            vector = embedded.vectors[0]
        return Patch(
            text=request.text,
            information=None if request.text is None else information(request.text),
            vector=vector,
            metadata=request.metadata,
            type=request.type,
            tags=request.tags,
            timestamp_ms=request.timestamp,
            significance=request.significance,
            surprise=request.surprise,
            expires_at_ms=request.expires_at,
            never_expires=request.never_expires,
        )

    async def _selection(self, request: ForgetRequest) -> Selection:
        now_ms = self._memories.now_ms()
        is_named_only = request.ids is not None and "namespace" not in request.model_fields_set
        seqs = None
        if request.keep is not None:
            # What `retrieve` would list after the first `keep`: the least significant, the oldest of those.
            beyond = Search(request.namespace, now_ms, EVERYTHING_BEYOND, offset=request.keep)
            seqs = tuple(await self._memories.seqs_of(beyond))
        return Selection(
            namespace=None if is_named_only else request.namespace,
            ids=None if request.ids is None else tuple(dict.fromkeys(request.ids)),
            seqs=seqs,
            wanted=request.wanted,
            before_ms=None if request.older_than is None else request.older_than.at(now_ms),
            below_significance=request.below_significance,
        )

    async def _repeat(self, make_job: Callable[[], PurgeJob]) -> int:
        total = 0
        while count := (await self._memories.change(make_job())).count:
            total += count
        return total


def _pair(memory: Memory, found: dict[str, Memory]) -> Payload:
    original = found.get(memory.duplicate_of or "")
    return {
        "memory": memory_object(memory),
        "duplicate_of": memory.duplicate_of,
        "original": None if original is None else memory_object(original),
    }
