"""One question to a child, with a time limit: does it work? Probes know nothing of thresholds, states or
policies.

A probe answers `Well`, `Loading` (alive, not ready yet, perhaps with progress) or `Failing` with a phrase. It
never raises for what a child does, and holds at most one connection, which `close` gives back.
Sources: launcher.md section 2 (health), protocol.md section 3 (envelope), section 2 (doors).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

__all__ = [
    "Answer",
    "Endpoint",
    "Failing",
    "HttpProbe",
    "Loading",
    "Probe",
    "TcpProbe",
    "WebSocketProbe",
    "Well",
]

_LOADING_CODES = frozenset({"model_loading", "store_opening"})
_BUSY_CODES = frozenset({"overloaded"})
"""Refused for want of room: whoever says so works, and more than enough."""

_MAX_REPLY_BYTES = 4 * 1024 * 1024
_MAX_BODY_BYTES = 16 * 1024


@dataclass(frozen=True)
class Well:
    """It answered, and well; `stats` is what it said of itself."""

    stats: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Loading:
    """It lives and is not ready; `progress` is 0 to 1."""

    phase: str | None = None
    progress: float | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Failing:
    """It did not answer, or not well; `text` completes the sentence "the child …"."""

    text: str


Answer = Well | Loading | Failing


@dataclass(frozen=True)
class Endpoint:
    """Where a child is asked: a loopback address, its port, and the headers that open its doors."""

    host: str
    port: int
    headers: Mapping[str, str]

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Probe(Protocol):
    """What the probing loop needs of a probe."""

    async def check(self) -> Answer:
        """Ask once; the caller limits the time by cancelling."""

    async def close(self) -> None:
        """Give back what is held; the probe may be used again."""


class WebSocketProbe:
    """Sends one request on a connection that it keeps, and reads its one reply."""

    def __init__(self, endpoint: Endpoint, request: Mapping[str, Any]) -> None:
        """Ask `request` (an envelope of protocol.md section 3, such as `{"type": "stats"}`)."""
        self._endpoint = endpoint
        self._request = request
        self._connection: ClientConnection | None = None

    async def check(self) -> Answer:
        """Ask; a broken exchange drops the connection, so that no reply is taken for another's."""
        return await self._ask(self._request)

    async def close(self) -> None:
        """Say goodbye, and wait for the answer only as long as a healthy child needs for one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _ask(self, request: Mapping[str, Any]) -> Answer:
        kind = str(request.get("type"))
        is_done = False
        try:
            if self._connection is None:
                self._connection = await self._connect()
            await self._connection.send(json.dumps(request))
            frame = await self._connection.recv()
            is_done = True
        except (OSError, WebSocketException, EOFError) as error:
            return Failing(f"does not answer '{kind}' on port {self._endpoint.port}: {_name(error)}")
        finally:
            if not is_done:
                self._drop()
        return _read_reply(kind, frame)

    async def _connect(self) -> ClientConnection:
        return await connect(
            f"ws://{self._endpoint.authority}/",
            additional_headers=dict(self._endpoint.headers),
            compression=None,
            open_timeout=None,
            ping_interval=None,
            close_timeout=0.1,
            max_size=_MAX_REPLY_BYTES,
            proxy=None,
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # A hung child would never answer a close frame; nobody waits for it.
            connection.transport.abort()


class HttpProbe:
    """GETs a path; 200 to 299 is well, 503 with a JSON body that names a phase is loading."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        """Ask `path`, which starts with a slash."""
        self._endpoint = endpoint
        self._path = path
        headers = {"Host": endpoint.authority, "Connection": "close", **endpoint.headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._request = "\r\n".join([*lines, "", ""]).encode()

    async def check(self) -> Answer:
        """Ask once, on a connection of its own."""
        try:
            status, body = await self._get()
        except (OSError, EOFError, ValueError) as error:
            return Failing(f"does not answer GET {self._path} on port {self._endpoint.port}: {_name(error)}")
        if 200 <= status < 300:
            return Well()
        phase = _phase(body) if status == 503 else None
        return Failing(f"answers GET {self._path} with {status}") if phase is None else phase

    async def close(self) -> None:
        """Nothing is held between checks."""

    async def _get(self) -> tuple[int, bytes]:
        connection = await _connect(self._endpoint)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(connection, self._request)
            received = await _receive(connection, lambda data: b"\n" in data)
            protocol, status = received.split(b"\n", 1)[0].split(maxsplit=2)[:2]
            if not protocol.startswith(b"HTTP/"):
                raise ValueError("it does not speak HTTP")
            if status == b"503":
                received += await _receive(connection, lambda data: False, len(received))
            return int(status), received.partition(b"\r\n\r\n")[2]
        finally:
            connection.close()


class TcpProbe:
    """Connects; an accepted connection is well."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Ask the endpoint's port."""
        self._endpoint = endpoint

    async def check(self) -> Answer:
        """Connect once and hang up."""
        try:
            connection = await _connect(self._endpoint)
        except OSError as error:
            return Failing(f"does not accept connections on port {self._endpoint.port}: {_name(error)}")
        connection.close()
        return Well()

    async def close(self) -> None:
        """Nothing is held between checks."""


def _read_reply(kind: str, frame: str | bytes) -> Answer:
    try:
        reply = json.loads(frame)
    except ValueError:
        return Failing(f"answers '{kind}' with something that is not JSON")
    if not isinstance(reply, dict):
        return Failing(f"answers '{kind}' with something that is not an object")
    if reply.get("status") == "success":
        stats = reply.get("stats")
        return _judge_stats(stats) if isinstance(stats, dict) else Well()
    if reply.get("code") in _BUSY_CODES:
        return Well()
    if reply.get("code") in _LOADING_CODES:
        return Loading(_text(reply.get("phase")), _progress(reply))
    return Failing(f"answers '{kind}' with an error: {_text(reply.get('error')) or 'no text'}")


def _judge_stats(stats: Mapping[str, Any]) -> Answer:
    """A server may answer `stats` while it loads: its phase tells."""
    phase = _text(stats.get("phase"))
    if phase is None or phase in ("ready", "serving"):
        return Well(stats)
    if phase == "failed":
        return Failing("says that it has failed and answers nothing until a restart")
    return Loading(phase, _progress(stats))


async def _connect(endpoint: Endpoint) -> socket.socket:
    """A bare socket: streams would cost three times as much, each second for each child. Raises OSError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (endpoint.host, endpoint.port))
    except BaseException:
        connection.close()
        raise
    return connection


async def _receive(
    connection: socket.socket, is_enough: Callable[[bytes], bool], received_bytes: int = 0
) -> bytes:
    """What comes until it is enough, or the other side has ended, or there is too much of it.

    Raises EOFError when nothing comes.
    """
    loop = asyncio.get_running_loop()
    received = b""
    while received_bytes + len(received) < _MAX_BODY_BYTES and not is_enough(received):
        chunk = await loop.sock_recv(connection, _MAX_BODY_BYTES)
        if not chunk:
            break
        received += chunk
    if not received and not received_bytes:
        raise EOFError("it hung up")
    return received


def _phase(body: bytes) -> Loading | None:
    with suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict) and "phase" in document:
            return Loading(_text(document["phase"]), _progress(document))
    return None


def _progress(reply: Mapping[str, Any]) -> float | None:
    progress = reply.get("progress")
    return float(progress) if isinstance(progress, int | float) else None


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _name(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
