"""The memory server without sockets: requests in as data, replies out as the JSON that clients read."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from servers.embedding.worker import EmbeddingWorker
from servers.errors import RequestError
from servers.memory.assembly import commands_of
from servers.memory.memories import Memories
from servers.memory.metrics import CommitMetrics
from servers.memory.settings import MemorySettings
from servers.memory.store.sqlite import SqliteStore
from servers.protocol import Envelope, encode, failure, parse, success
from servers.readiness import Readiness
from servers.service import Command, RequestContext
from servers.telemetry import Telemetry

NOON_MS = 1_750_000_000_000


@dataclass
class Clock:
    """Wall time that moves only when a test says so."""

    now_ms: int = NOON_MS

    def __call__(self) -> int:
        """The time, in epoch milliseconds."""
        return self.now_ms


@dataclass
class Desk:
    """The commands of one memory server."""

    commands: tuple[Command, ...]
    memories: Memories
    readiness: Readiness
    clock: Clock
    phases: list[str]
    telemetry: Telemetry

    async def ask(self, command: str, **data: Any) -> dict[str, Any]:
        """The reply to a request with that data."""
        return await self._ask(RequestContext(0, None, 0.0), command, data)

    async def stages(self, command: str, **data: Any) -> list[str]:
        """The stages that a request with that data went through, with the total."""
        context = RequestContext(0, None, 0.0)
        reply = await self._ask(context, command, data)
        assert reply["status"] == "success", reply
        return list(context.stages.document(0.0))

    async def _ask(self, context: RequestContext, command: str, data: dict[str, Any]) -> dict[str, Any]:
        (found,) = [known for known in self.commands if known.name == command]
        envelope = Envelope(command, data)
        try:
            request = parse(found.request, envelope)
            reply = success(envelope, await found.handle(context, request))
        except RequestError as error:
            reply = failure(error, envelope)
        answer: dict[str, Any] = json.loads(encode(reply))
        return answer

    async def texts(self, **data: Any) -> list[str]:
        """The texts that `retrieve` answers."""
        reply = await self.ask("retrieve", **data)
        return [memory["text"] for memory in reply["memories"]]


@asynccontextmanager
async def open_desk(folder: Path, *, vfs: str | None = None, **options: Any) -> AsyncIterator[Desk]:
    """A started memory server over the store in that folder; stopped at the end."""
    settings = MemorySettings.model_validate({"backend": "debug", "path": folder, **options})
    desk = make_desk(settings, vfs)
    try:
        await desk.memories.start()
        yield desk
    finally:
        await desk.memories.stop()


def make_desk(settings: MemorySettings, vfs: str | None = None) -> Desk:
    """A memory server that has not been started."""
    readiness, clock = Readiness(), Clock()
    telemetry = Telemetry("memory", "1.0", readiness)
    worker = EmbeddingWorker(settings, telemetry.registry)
    memories = Memories(
        settings,
        worker,
        readiness,
        open_store=partial(SqliteStore, settings.path, vfs=vfs, lock_wait_s=0.0),
        now_ms=clock,
        metrics=CommitMetrics(telemetry.registry),
    )
    phases: list[str] = []
    readiness.subscribe(lambda changed: phases.append(changed.phase))
    commands = commands_of(settings, memories, worker, telemetry)
    return Desk(commands, memories, readiness, clock, phases, telemetry)
