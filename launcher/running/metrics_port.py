"""The supervisor's metrics on a loopback port, for a Prometheus that cannot read a Unix socket.

Decides that only `GET /metrics` is answered, only to a loopback Host (a page that rebinds its name gets
nothing), within five seconds. Does not know what the metrics are.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable

from launcher.errors import PortConflict, PortInUse
from launcher.exposition import CONTENT_TYPE
from launcher.sockets import PortUnavailable, bind_service, find_holder

__all__ = ["MetricsPort"]

_PORT_OF_HOST = re.compile(r":\d*$")
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_LIMIT_S = 5.0
_HEAD_BYTES = 16 * 1024


class MetricsPort:
    """Listens on at most one port at a time."""

    def __init__(self, render: Callable[[], str]) -> None:
        """Answer with what `render` returns; nothing listens before `listen_on`."""
        self._render = render
        self._port: int | None = None
        self._servers: list[asyncio.Server] = []

    async def listen_on(self, port: int | None, where: str | None) -> None:
        """Listen there and no more where it was before; None listens nowhere.

        Raises PortInUse, naming the holder and `where` the file says so, and then goes on as before.
        """
        if port == self._port:
            return
        sockets = () if port is None else _bind(port, where)
        await self.close()
        for bound in sockets:
            self._servers.append(await asyncio.start_server(self._answer, sock=bound, limit=_HEAD_BYTES))
        self._port = port

    async def close(self) -> None:
        """Listen nowhere; idempotent."""
        for server in self._servers:
            server.close()
            await server.wait_closed()
        self._servers, self._port = [], None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and hang up."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._reply(head.decode("latin-1")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # it sent no whole head in time, or left: nobody waits for an answer
        finally:
            writer.transport.abort()

    def _reply(self, head: str) -> bytes:
        request, *fields = head.split("\r\n")
        method, path, *_ = [*request.split(" "), "", ""]
        hosts = [field[5:].strip() for field in fields if field.lower().startswith("host:")]
        if len(hosts) != 1 or _PORT_OF_HOST.sub("", hosts[0]).lower() not in _HOSTS:
            return _response("421 Misdirected Request", "Host must name this machine\n")
        if path.partition("?")[0] != "/metrics":
            return _response("404 Not Found", "there is GET /metrics\n")
        if method != "GET":
            return _response("405 Method Not Allowed", "there is GET /metrics\n")
        return _response("200 OK", self._render())


def _response(status: str, body: str) -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + data


def _bind(port: int, where: str | None) -> tuple[socket.socket, ...]:
    try:
        return bind_service("localhost", port)
    except PortUnavailable as refusal:
        holders = ((port, find_holder(port)),) if refusal.is_taken else ()
        reason = None if refusal.is_taken else refusal.reason
        conflict = PortConflict(
            "metrics",
            f"localhost:{port}",
            where=where,
            holders=holders,
            reason=reason,
            hint="choose another with the key 'metrics_port'",
        )
        raise PortInUse([conflict]) from None
