"""What a server is, as seen by the doors: commands, routes, and how to start, ask and stop it.

The memory and the inference server each build one `Service`; the doors in `servers.asgi` and `servers.serve`
run any of them alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.routing import BaseRoute

from servers.readiness import Readiness
from servers.stages import Stages
from servers.telemetry import Telemetry

__all__ = ["Command", "RequestContext", "Service"]


@dataclass(frozen=True)
class RequestContext:
    """What a handler knows of its request besides the data.

    `deadline` and `received_at` are instants of `loop.time()`; the deadline comes from `data.timeout_ms`
    and is enforced by the session, a handler only passes it on so that expired work is never computed.
    `stages` is where it notes what its time went to, whether the client asked for that or not.
    """

    connection_id: int
    deadline: float | None
    received_at: float
    stages: Stages = field(default_factory=Stages)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Notes how long the block takes, awaiting included, as that stage; nothing when it raises."""
        clock = asyncio.get_running_loop().time
        began_at = clock()
        yield
        self.stages.note(stage, clock() - began_at)


@dataclass(frozen=True)
class Command:
    """One command of the wire protocol.

    `handle` gets the validated `request` and returns the success payload.  It raises RequestError for a
    failure that the client should understand; anything else is answered as `internal`.  It is cancelled
    when the client is gone, cancels, or the deadline passes.  With `needs_ready` the session refuses it
    until the service is.

    `admit` is asked first and raises RequestError for a request that would be refused for want of room: there
    are the most of those when there is the least time, so nothing is set up for them.
    """

    name: str
    request: type[BaseModel]
    handle: Callable[[RequestContext, Any], Awaitable[Mapping[str, Any]]]
    needs_ready: bool = True
    admit: Callable[[Any], None] | None = None


async def _nothing() -> None:
    """A service without anything to load or to close."""


@dataclass
class Service:
    """One server, assembled.

    `start` runs in the background once the sockets are bound, loads what is needed and ends with
    `readiness.ready(device)`; it raises StartupError when that can never succeed.  `stop` runs after the
    drain, in the same task as `start` (also when `start` was cancelled half-way), so both may share a
    context manager. `is_alive` is asked often and must be quick.  `describe` adds keys to `GET /`.
    """

    name: str
    version: str
    commands: tuple[Command, ...]
    readiness: Readiness
    telemetry: Telemetry
    routes: tuple[BaseRoute, ...] = ()
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    is_alive: Callable[[], bool] = lambda: True
    describe: Callable[[], dict[str, Any]] = field(default=dict)

    def check_alive(self) -> bool:
        """Whether requests can be served now; notes a worker that died since it was ready."""
        if self.readiness.is_ready and not self.is_alive():
            self.readiness.fail(f"The {self.name} server's worker has died")
        return self.readiness.is_ready
