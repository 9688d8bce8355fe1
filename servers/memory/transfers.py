"""The commands that move memories in and out of files of the data folder: export, import, backup.

It decides names of files and the order of steps; `servers.memory.archive` knows the files themselves.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from servers.embedding.worker import EmbeddingWorker
from servers.errors import InvalidRequest
from servers.memory.archive import BATCH_ROWS, ImportFile, Survey, with_vectors, write_export
from servers.memory.command_group import CommandGroup, Payload
from servers.memory.data_folder import resolve_inside, shown_inside
from servers.memory.handlers import drafts_of
from servers.memory.instants import iso_utc
from servers.memory.jobs import ImportJob, NoteJob, StoreJob
from servers.memory.memories import Memories
from servers.memory.requests import StoreItem
from servers.memory.settings import MemorySettings
from servers.memory.store.base import Memory, Store, Vector
from servers.memory.store.creation import create_folder
from servers.memory.store.failures import disk_failures
from servers.memory.upkeep_requests import BackupRequest, ExportRequest, ImportRequest
from servers.service import Command, RequestContext

T = TypeVar("T")

ROWS_PER_STEP: Final = 512
"""Memories read at once while they are exported."""


class Transfers(CommandGroup):
    """The commands with files over one `Memories`."""

    def __init__(self, settings: MemorySettings, memories: Memories, worker: EmbeddingWorker) -> None:
        super().__init__(settings, memories, worker)
        self._folder = settings.path.expanduser()

    def commands(self) -> tuple[Command, ...]:
        """Return the commands of this kind."""
        return (
            Command("export", ExportRequest, self.export),
            Command("import", ImportRequest, self.import_),
            Command("backup", BackupRequest, self.backup),
        )

    async def export(self, context: RequestContext, request: ExportRequest) -> Payload:
        """Write memories as JSON Lines to a new file, as of one instant, while everything else goes on."""
        file = self._new_file(request.path, "exports/memories", "jsonl")
        model = self._memories.model

        def write(store: Store) -> Payload:
            with disk_failures(file):
                done = write_export(file, model, store.read_all(request.namespace, ROWS_PER_STEP))
            return {"path": self._shown(file), "count": done.count, "size_bytes": done.size_bytes}

        return await self._memories.with_store(write)

    async def backup(self, context: RequestContext, request: BackupRequest) -> Payload:
        """Write a complete copy of the store to a new file while everything else goes on."""
        file = self._new_file(request.path, "backups/memory", "db")
        began_ms = self._memories.now_ms()

        def copy(store: Store) -> Payload:
            with disk_failures(file):
                create_folder(file.parent)
                done = store.backup(file)
            return {"size_bytes": done.size_bytes, "count": done.rows, "damaged": done.damaged_rows}

        payload = await self._memories.with_store(copy)
        await self._memories.change(NoteJob("last_backup", str(began_ms)))
        return {"path": self._shown(file), "created_at": iso_utc(began_ms), **payload}

    async def import_(self, context: RequestContext, request: ImportRequest) -> Payload:
        """Check every line of a file, then store its memories, some at a time.

        An import that is cut short may simply be repeated: what is there already is left as it is.
        """
        file = ImportFile(
            resolve_inside(self._folder, request.path, must_exist=True), self._settings.max_message_bytes
        )
        dimensions = self._worker.info.dimensions
        survey = await self._with_files(lambda: file.survey(dimensions, self._check))
        if survey.model is None:
            stored = await self._store_items(context, file.items())
            return {"path": request.path, "count": survey.count, **stored}
        self._refuse_other_model(survey, request)
        imported = await self._import(context, request, file.memories(survey.model.dimensions))
        return {"path": request.path, "count": survey.count, **imported}

    async def _import(
        self, context: RequestContext, request: ImportRequest, memories: Iterator[Memory]
    ) -> Payload:
        counts = {"imported": 0, "unchanged": 0}
        while batch := await self._with_files(lambda: list(islice(memories, BATCH_ROWS))):
            if request.reembed:
                batch = with_vectors(batch, await self._embed(context, [memory.text for memory in batch]))
            with context.timed("commit"):
                outcome = await self._memories.change(ImportJob(batch, request.on_conflict))
            counts["imported"] += len(outcome.memories)
            counts["unchanged"] += outcome.unchanged
        return counts

    async def _store_items(self, context: RequestContext, items: Iterator[StoreItem]) -> Payload:
        counts = {"imported": 0, "unchanged": 0}
        while batch := await self._with_files(lambda: list(islice(items, BATCH_ROWS))):
            texts = [item.text for item in batch if item.embedding is None]
            for item in batch:
                if item.embedding is not None:
                    self._limits.check_vector(item.embedding, self._worker.info.dimensions)
            vectors = await self._embed(context, texts)
            drafts = drafts_of(batch, vectors, self._memories.now_ms())
            with context.timed("commit"):
                outcome = await self._memories.change(StoreJob(drafts))
            changed = len(outcome.added) + len(outcome.revived)
            counts["imported"] += changed
            counts["unchanged"] += len(batch) - changed
        return counts

    async def _embed(self, context: RequestContext, texts: list[str]) -> list[Vector]:
        if not texts:
            return []
        with context.timed("embed"):
            embedded = await self._worker.embed(texts, priority="bulk", deadline=context.deadline)
        return list(embedded.vectors)

    async def _with_files(self, work: Callable[[], T]) -> T:
        def guarded(store: Store) -> T:
            with disk_failures(self._folder):
                return work()

        return await self._memories.with_store(guarded)

    def _check(self, text: str, metadata: dict[str, Any]) -> None:
        self._limits.check(text, metadata)

    def _refuse_other_model(self, survey: Survey, request: ImportRequest) -> None:
        mine = self._memories.model
        if survey.model != mine and survey.model is not None and not request.reembed:
            raise InvalidRequest(
                f"The file's vectors are of {survey.model.name} ({survey.model.dimensions} dimensions), this "
                f"store's of {mine.name} ({mine.dimensions}); set reembed to true to have the texts embedded "
                "again.",
                details={"field": "reembed", "file": survey.model.name, "store": mine.name},
            )

    def _new_file(self, name: str | None, stem: str, suffix: str) -> Path:
        stamp = iso_utc(self._memories.now_ms()).replace("-", "").replace(":", "")
        return resolve_inside(self._folder, name or f"{stem}-{stamp}.{suffix}", must_exist=False)

    def _shown(self, file: Path) -> str:
        return shown_inside(self._folder, file)
