"""The memory server put together: store, index, worker, commands, one `Service`.

It decides nothing but who knows whom; `servers.serve` runs the result.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from servers.embedding.worker import EmbeddingWorker
from servers.memory.handlers import Handlers
from servers.memory.mcp_door import McpDoor
from servers.memory.memories import Memories
from servers.memory.metrics import CommitMetrics
from servers.memory.settings import MemorySettings
from servers.memory.store.ballasted import BallastedStore
from servers.memory.store.base import Store
from servers.memory.transfers import Transfers
from servers.memory.upkeep import Upkeep
from servers.readiness import Readiness
from servers.service import Command, Service
from servers.surroundings import read_version
from servers.telemetry import Telemetry

NAME = "memory"


def build_service(settings: MemorySettings, peers: Mapping[str, str] | None = None) -> Service:
    """Return the memory server for `settings`; nothing is opened or loaded before its `start` runs.

    `peers` maps the names of the stack's other services to their URLs, for `stats`.
    """
    version = read_version()
    readiness = Readiness()
    telemetry = Telemetry(NAME, version, readiness, peers=peers)
    worker = EmbeddingWorker(settings, telemetry.registry)
    memories = Memories(
        settings,
        worker,
        readiness,
        open_store=partial(open_store, settings),
        now_ms=_now_ms,
        metrics=CommitMetrics(telemetry.registry),
    )
    commands = commands_of(settings, memories, worker, telemetry)
    service = Service(
        name=NAME,
        version=version,
        commands=commands,
        readiness=readiness,
        telemetry=telemetry,
        start=memories.start,
        stop=memories.stop,
        is_alive=memories.is_alive,
        describe=lambda: {"model": settings.model, "path": str(settings.path)},
    )
    if not settings.serves_mcp:
        return service
    door = McpDoor(commands, readiness, telemetry, max_body_bytes=settings.max_message_bytes)
    return with_door(service, door, is_opened_early=bool(settings.mcp))


def commands_of(
    settings: MemorySettings, memories: Memories, worker: EmbeddingWorker, telemetry: Telemetry
) -> tuple[Command, ...]:
    """Return every command that the memory server answers."""
    return (
        *Handlers(settings, memories, worker, telemetry).commands(),
        *Upkeep(settings, memories, worker).commands(),
        *Transfers(settings, memories, worker).commands(),
    )


def with_door(service: Service, door: McpDoor, *, is_opened_early: bool) -> Service:
    """Return the service with the MCP door, which closes before it.

    It opens before the service where that was asked for, so that its first client need not wait.
    """

    async def start() -> None:
        if is_opened_early:
            await door.open()
        await service.start()

    async def stop() -> None:
        await door.stop()
        await service.stop()

    return replace(service, routes=(*service.routes, door.route()), start=start, stop=stop)


def open_store(settings: MemorySettings) -> Store:
    """Open the store that the settings name. Raises StoreUnusable."""
    if settings.store is None:
        return BallastedStore(settings.path.expanduser(), ballast_bytes=settings.ballast_bytes)
    # An extra: only who uses it needs psycopg, and only then is it imported.
    from servers.memory.store.postgres import PostgresStore

    return PostgresStore(settings.store.get_secret_value())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
