"""The server of the control socket: `GET /status`, `GET /metrics`, and JSON over WebSocket, on a private
Unix socket.

Decides who may talk (the same user, or root), the envelope (protocol.md section 3), and that a subscriber
gets the latest snapshot whenever it can take one: nothing is queued for it. Bad input is answered and
survived. Does not know what a command does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from launcher.errors import LauncherError
from launcher.exposition import CONTENT_TYPE
from launcher.running.control_commands import BadRequest, Commands
from launcher.running.publisher import Publisher
from launcher.snapshot import StatusDocument

__all__ = ["ControlServer"]

_MAX_REQUEST_BYTES = 1024 * 1024
_REFRESH_S = 1.0
_LAST_WORDS_S = 1.0
_PEER = struct.Struct("3i")
_ECHOED = ("id", "request_id", "message_id", "client_id")


class ControlServer:
    """Answers on the control socket from `open` until `close`."""

    def __init__(
        self,
        path: Path,
        commands: Commands,
        publisher: Publisher,
        status: Callable[[], StatusDocument],
        metrics: Callable[[], str],
        on_listener: Callable[[], None],
    ) -> None:
        """Serve at `path`; `on_listener` is told when somebody subscribes."""
        self._path = path
        self._commands = commands
        self._publisher = publisher
        self._status = status
        self._metrics = metrics
        self._feeds: set[asyncio.Task[None]] = set()
        self._on_listener = on_listener
        self._server: Server | None = None

    async def open(self, held: socket.socket | None = None) -> int:
        """Listen, on `held` where there is one, and return the descriptor. Raises OSError.

        A socket that a dead supervisor left is replaced, as the lock is ours.
        """
        quiet = logging.getLogger("launcher.control.websockets")
        quiet.setLevel(logging.CRITICAL)
        listener = self._bind() if held is None else held
        self._server = await unix_serve(
            self._talk,
            sock=listener,
            process_request=self._answer_http,
            compression=None,
            max_size=_MAX_REQUEST_BYTES,
            write_limit=64 * 1024,
            close_timeout=1.0,
            logger=quiet,
        )
        return listener.fileno()

    def _bind(self) -> socket.socket:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        return listener

    async def close(self, *, for_good: bool = True) -> None:
        """Let everybody who listens hear the end, say goodbye, and remove the socket unless another
        supervisor goes on with it.
        """
        self._publisher.close()
        if self._feeds:
            await asyncio.wait(self._feeds, timeout=_LAST_WORDS_S)
        if self._server is not None:
            code, reason = (1001, "the supervisor ends") if for_good else (1012, "another one takes over")
            self._server.close(code=code, reason=reason)
            await self._server.wait_closed()
        if for_good:
            self._path.unlink(missing_ok=True)

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse strangers; answer plain GETs; let WebSocket handshakes through."""
        if not _is_same_user(connection):
            return connection.respond(403, "this stack belongs to another user\n")
        if any("upgrade" in value.lower() for value in request.headers.get_all("Connection")):
            return None
        if request.path == "/status":
            return _respond(connection, json.dumps(self._status()) + "\n", "application/json")
        if request.path == "/metrics":
            return _respond(connection, self._metrics(), CONTENT_TYPE)
        return connection.respond(404, "there are GET /status, GET /metrics, and JSON over WebSocket\n")

    async def _talk(self, connection: ServerConnection) -> None:
        """One client: requests are answered in order, and a subscription runs beside them."""
        try:
            async with asyncio.TaskGroup() as tasks:
                feeding: asyncio.Task[None] | None = None
                async for frame in connection:
                    reply, wants_feed = await self._reply(frame)
                    await connection.send(json.dumps(reply))
                    if wants_feed is not None and feeding is None:
                        feeding = tasks.create_task(self._feed(connection, wants_feed))
                        self._feeds.add(feeding)
                        feeding.add_done_callback(self._feeds.discard)
                if feeding is not None:
                    feeding.cancel()
        except* ConnectionClosed:
            pass  # it left; there is nobody to tell

    async def _reply(self, frame: str | bytes) -> tuple[dict[str, Any], bool | None]:
        """The one reply to a frame, and whether it asks for a feed (with events or without)."""
        echo: dict[str, Any] = {}
        try:
            request = _decode(frame)
            echo = {key: request[key] for key in _ECHOED if key in request}
            kind, data = request.get("type"), request.get("data") or {}
            if not isinstance(kind, str):
                raise BadRequest("'type' must be the name of a command")
            if not isinstance(data, dict):
                raise BadRequest("'data' must be an object")
            echo = {"type": kind, **echo}
            if kind == "subscribe":
                return {"status": "success", **echo}, data.get("events") is True
            return {"status": "success", **echo, **await self._commands.answer(kind, data)}, None
        except LauncherError as error:
            document = error.to_document()
            return {"status": "error", **echo, "error": document["message"], **document}, None

    async def _feed(self, connection: ServerConnection, with_events: bool) -> None:
        """Send the latest snapshot after each change and at least every second, as ages move.

        The last frames, when the stack has come to its end, are the last events and the last snapshot.
        """
        subscriber = self._publisher.subscribe()
        self._on_listener()
        try:
            is_last = False
            while not is_last:
                is_last = self._publisher.is_closed
                if with_events:
                    for event in self._publisher.events_since(subscriber.seen_revision):
                        subscriber.seen_revision = event["revision"]
                        await connection.send(json.dumps({"type": "event", "event": event}))
                await connection.send(json.dumps({"type": "snapshot", "snapshot": self._status()}))
                if not is_last:
                    await subscriber.wait(_REFRESH_S)
        finally:
            self._publisher.unsubscribe(subscriber)


def _respond(connection: ServerConnection, body: str, content_type: str) -> Response:
    response = connection.respond(200, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = content_type
    return response


def _decode(frame: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise BadRequest("Invalid JSON format", "invalid_json") from error
    if not isinstance(request, dict):
        raise BadRequest(f"a request is a JSON object, not {type(request).__name__}")
    return request


def _is_same_user(connection: ServerConnection) -> bool:
    raw = connection.transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size
    )
    return _PEER.unpack(raw)[1] in (os.getuid(), 0)
