"""`POST /mcp`: the Model Context Protocol over streamable HTTP (protocol.md section 7).

It decides how the SDK's server is run inside ours: without sessions, one JSON answer per request, so that a
restart of the server breaks no client. Origin, Host and token were judged before a request comes here. The
SDK is imported in a thread, by `open` or for the first request: who never asks does not pay for it.
"""

import asyncio
import importlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from servers.errors import RequestError, ShuttingDown
from servers.http_errors import error_response
from servers.protocol import Envelope, parse
from servers.readiness import Readiness
from servers.service import Command, RequestContext
from servers.telemetry import Telemetry

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"


class McpDoor:
    """The door over the commands of a service; serves until `stop`."""

    def __init__(
        self,
        commands: Sequence[Command],
        readiness: Readiness,
        telemetry: Telemetry,
        *,
        max_body_bytes: int,
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self._readiness = readiness
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes
        self._opening: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def route(self) -> Route:
        """Return the route; other methods than POST are answered 405, as the protocol allows."""
        return Route(PATH, self, methods=["POST"])

    async def open(self) -> "StreamableHTTPSessionManager":
        """Have the SDK imported and running, and return what answers its requests. Idempotent."""
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._opening), name="mcp")
        # Whoever leaves while the SDK is imported takes it from nobody else.
        return await asyncio.shield(self._opening)

    async def stop(self) -> None:
        """End the SDK's tasks; also after an opening that was cut short."""
        self._stopping.set()
        if self._running is not None:
            await self._running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._stopping.is_set():
            error = ShuttingDown("The server is shutting down.", retry_after=1.0)
            await error_response(error, PATH)(scope, receive, send)
            return
        manager = await self.open()
        await manager.handle_request(scope, receive, send)

    async def ask(self, name: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a command as the wire does, its result as plain JSON. Raises RequestError."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        code = "internal"
        try:
            result = await self._answer(self._commands[name], data, loop.time())
            code = "ok"
            return result
        except RequestError as error:
            code = error.code
            raise
        finally:
            self._telemetry.record(f"mcp.{name}", code, time.monotonic() - began)

    async def _answer(self, command: Command, data: Mapping[str, Any], now: float) -> dict[str, Any]:
        if self._readiness.is_draining:
            raise ShuttingDown("The server is shutting down.", retry_after=1.0)
        if command.needs_ready and not self._readiness.is_ready:
            raise self._readiness.loading_error()
        request = parse(command.request, Envelope(command.name, dict(data)))
        payload = await command.handle(RequestContext(0, None, now), request)
        plain: dict[str, Any] = orjson.loads(orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY))
        return plain

    async def _run(self, opening: "asyncio.Future[StreamableHTTPSessionManager]") -> None:
        try:
            manager = await self._build()
            # One task enters and leaves: the SDK's task group must not change hands.
            async with manager.run():
                opening.set_result(manager)
                await self._stopping.wait()
        except Exception as error:
            if opening.done():
                raise
            # Such as a package of another version: told to everybody who waits, and logged by their doors.
            opening.set_exception(error)

    async def _build(self) -> "StreamableHTTPSessionManager":
        tools = await asyncio.to_thread(importlib.import_module, "servers.memory.mcp_tools")
        managers = await asyncio.to_thread(importlib.import_module, "mcp.server.streamable_http_manager")
        server = tools.build_mcp_server(self.ask, self._telemetry.version)
        manager: StreamableHTTPSessionManager = managers.StreamableHTTPSessionManager(
            server._lowlevel_server,  # the SDK has no public way from its server to a bare ASGI application
            json_response=True,
            stateless=True,
            max_request_body_size=self._max_body_bytes,
        )
        return manager
