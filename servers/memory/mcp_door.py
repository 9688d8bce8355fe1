"""`POST /mcp`: the Model Context Protocol over streamable HTTP (protocol.md section 7).

It decides how the SDK's server is run inside ours: without sessions, one JSON answer per request, so that a
restart of the server breaks no client. Origin, Host and token were judged before a request comes here. The
SDK is imported when the service starts, in a thread, and only where the option `mcp` is set.
"""

import asyncio
import importlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from servers.errors import ModelLoading, RequestError, ShuttingDown
from servers.http_errors import error_response
from servers.protocol import Envelope, parse
from servers.readiness import Readiness
from servers.service import Command, RequestContext
from servers.telemetry import Telemetry

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"


class McpDoor:
    """The door over the commands of a service; serves from `start` until `stop`."""

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
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def route(self) -> Route:
        """Return the route; other methods than POST are answered 405, as the protocol allows."""
        return Route(PATH, self, methods=["POST"])

    async def start(self) -> None:
        """Import the SDK and be ready to serve."""
        tools = await asyncio.to_thread(importlib.import_module, "servers.memory.mcp_tools")
        managers = await asyncio.to_thread(importlib.import_module, "mcp.server.streamable_http_manager")
        server = tools.build_mcp_server(self.ask, self._telemetry.version)
        manager = managers.StreamableHTTPSessionManager(
            server._lowlevel_server,  # the SDK has no public way from its server to a bare ASGI application
            json_response=True,
            stateless=True,
            max_request_body_size=self._max_body_bytes,
        )
        is_running = asyncio.Event()
        self._running = asyncio.create_task(self._run(manager, is_running), name="mcp")
        await is_running.wait()
        self._manager = manager

    async def stop(self) -> None:
        """End the SDK's tasks; also after a start that was cut short."""
        self._manager = None
        self._stopping.set()
        if self._running is not None:
            await self._running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._manager is None:
            error = ModelLoading("The MCP door is not open yet. Ask again shortly.", retry_after=1.0)
            await error_response(error, PATH)(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)

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

    async def _run(self, manager: "StreamableHTTPSessionManager", is_running: asyncio.Event) -> None:
        # One task enters and leaves: the SDK's task group must not change hands.
        async with manager.run():
            is_running.set()
            await self._stopping.wait()
