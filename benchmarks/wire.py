"""The least of two protocols that a load generator needs: WebSocket frames and HTTP/1.1 with a length.

Knows nothing of what is asked or measured. One request at a time per connection; servers on loopback that
answer as they should are assumed; a handshake that fails raises, and so does a reply without a length.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, Self
from urllib.parse import SplitResult

_CODE = re.compile(rb'"code":\s*"(\w+)"')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_SHOWN_BYTES = 600

LOST = "connection_lost"
"""What a request comes to whose connection has ended."""

Answered = Callable[[str], None]


class Connection(Protocol):
    """One connection that asks, one request after the other."""

    def ask(self, request: bytes, answered: Answered) -> None:
        """Send a written request; `answered` gets "ok", the failure's code, or `LOST`."""

    def close(self) -> None:
        """Hang up."""


class _Exchange(asyncio.Protocol, ABC):
    """Bytes out, one complete reply back; `reply_bytes` tells where a reply ends.

    Called back rather than awaited: a task and a future for each request are half of what asking costs.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = b""
        self.waiting: Callable[[bytes], None] | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = False
        self.has_checked = False

    @classmethod
    async def open(cls, url: SplitResult) -> Self:
        """Connect to `url`."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, url.hostname, url.port)
        protocol.begin(url)
        await protocol.opened
        return protocol

    def begin(self, url: SplitResult) -> None:
        """Do what comes before the first request."""
        self.is_open = True
        self.opened.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        while self.buffer and (size := self.reply_bytes()) is not None and len(self.buffer) >= size:
            reply, self.buffer = self.buffer[:size], self.buffer[size:]
            self.take(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"closed by the server: {exc}"))
        self._hand_over(b"")

    @abstractmethod
    def reply_bytes(self) -> int | None:
        """Return the length of the reply at the head of the buffer, None while that is not known."""

    @abstractmethod
    def code_of(self, reply: bytes) -> str:
        """Return what a reply says: "ok" or the failure's code; the first success is read in full."""

    def take(self, reply: bytes) -> None:
        """Take a whole reply."""
        self._hand_over(reply)

    def _hand_over(self, reply: bytes) -> None:
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting(reply)

    def ask(self, request: bytes, answered: Answered) -> None:
        """Send a written request; the last one must have been answered."""

        def replied(reply: bytes) -> None:
            answered(self.code_of(reply) if reply else LOST)

        self._send(request, replied)

    async def exchange(self, request: bytes) -> bytes:
        """Send and wait for the whole reply. Raises ConnectionError when the server closes instead."""
        replied: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._send(request, replied.set_result)
        reply = await replied
        if not reply:
            raise ConnectionError("closed by the server")
        return reply

    def _send(self, request: bytes, replied: Callable[[bytes], None]) -> None:
        self.waiting = replied
        if self.transport.is_closing():
            self._hand_over(b"")
        else:
            self.transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self.waiting = None
        self.transport.close()


class WebSocketConnection(_Exchange):
    """A WebSocket client; its masking key is zero, so that requests can be written once."""

    def begin(self, url: SplitResult) -> None:
        """Shake hands (RFC 6455 section 4)."""
        key = base64.b64encode(b"lucid-launch-sdk").decode()
        head = (
            f"GET {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.transport.write(head.encode())

    @staticmethod
    def written(payload: bytes) -> bytes:
        """Return `payload` as one masked text frame."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x81, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
        return head + bytes(4) + payload

    def reply_bytes(self) -> int | None:
        """Return the length of the frame, or of the handshake's head."""
        if not self.is_open:
            end = self.buffer.find(b"\r\n\r\n")
            return None if end < 0 else end + 4
        if len(self.buffer) < 2:
            return None
        size, after = self.buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(self.buffer) < 2 + width:
                return None
            size, after = int.from_bytes(self.buffer[2 : 2 + width], "big"), 2 + width
        return after + size

    def take(self, reply: bytes) -> None:
        """Tell what a reply came to, answer a ping, or take the handshake's answer."""
        opcode = reply[0] & 0x0F
        if not self.is_open:
            self._take_handshake(reply)
        elif opcode in (0x1, 0x2):
            self._hand_over(reply)
        elif opcode == 0x9:
            body = reply[2:]
            self.transport.write(struct.pack("!BB", 0x8A, 0x80 | len(body)) + bytes(4) + body)

    def _take_handshake(self, reply: bytes) -> None:
        self.is_open = b" 101 " in reply.split(b"\r\n", 1)[0]
        if self.is_open:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError(reply[:_SHOWN_BYTES].decode("latin-1")))

    def code_of(self, reply: bytes) -> str:
        """Return what a reply says, the others than the first success by their beginning."""
        if reply.find(b'"success"', 0, _SHOWN_BYTES) < 0:
            found = _CODE.search(reply)
            return found.group(1).decode() if found else "unreadable"
        if not self.has_checked:
            self.has_checked = "embeddings" in json.loads(reply[reply.index(b"{") :])
            return "ok" if self.has_checked else "unreadable"
        return "ok"


class HttpConnection(_Exchange):
    """A keep-alive HTTP/1.1 client for replies with a Content-Length."""

    @staticmethod
    def written(url: SplitResult, body: bytes) -> bytes:
        """Return a POST of `body` as JSON."""
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def reply_bytes(self) -> int | None:
        """Return the length of head and body."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        found = _LENGTH.search(self.buffer, 0, end)
        if found is None:
            raise ConnectionError("a reply without Content-Length")
        return end + 4 + int(found.group(1))

    def code_of(self, reply: bytes) -> str:
        """Return what a reply says, the others than the first success by their status."""
        status = reply[9:12].decode()
        if status != "200":
            return f"http_{status}"
        if not self.has_checked:
            body = json.loads(reply[reply.index(b"\r\n\r\n") + 4 :])
            self.has_checked = bool(body["data"][0]["embedding"])
        return "ok"
