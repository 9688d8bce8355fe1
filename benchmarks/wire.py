"""The least of two protocols that a load generator needs: WebSocket frames and HTTP/1.1 with a length.

Knows nothing of what is asked or measured. One request at a time per connection; servers on loopback that
answer as they should are assumed, and anything else raises.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from abc import ABC, abstractmethod
from typing import Protocol, Self
from urllib.parse import SplitResult

_CODE = re.compile(rb'"code":\s*"(\w+)"')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_SHOWN_BYTES = 600


class Connection(Protocol):
    """One connection that asks and waits."""

    async def ask(self, request: bytes) -> str:
        """Send a written request; return "ok" or the failure's code."""

    def close(self) -> None:
        """Hang up."""


class _Exchange(asyncio.Protocol, ABC):
    """Bytes out, one complete reply back; `_reply_bytes` tells where a reply ends."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waiter: asyncio.Future[bytes] | None = None
        self.has_checked = False

    @classmethod
    async def open(cls, url: SplitResult) -> Self:
        """Connect to `url`."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, url.hostname, url.port)
        await protocol.begin(url)
        return protocol

    async def begin(self, url: SplitResult) -> None:
        """Do what comes before the first request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.waiter is not None:
            size = self.reply_bytes()
            if size is None or len(self.buffer) < size:
                return
            reply = bytes(self.buffer[:size])
            del self.buffer[:size]
            if self.is_answer(reply):
                waiter, self.waiter = self.waiter, None
                waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(ConnectionError(f"closed by the server: {exc}"))

    @abstractmethod
    def reply_bytes(self) -> int | None:
        """Return the length of the reply at the head of the buffer, None while that is not known."""

    def is_answer(self, reply: bytes) -> bool:
        """Tell a reply from other traffic."""
        return True

    async def exchange(self, request: bytes) -> bytes:
        """Send and wait for the whole reply."""
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiter

    def close(self) -> None:
        """Hang up."""
        self.transport.close()


class WebSocketConnection(_Exchange):
    """A WebSocket client; its masking key is zero, so that requests can be written once."""

    async def begin(self, url: SplitResult) -> None:
        """Shake hands (RFC 6455 section 4)."""
        self.is_open = False
        key = base64.b64encode(b"lucid-launch-sdk").decode()
        head = (
            f"GET {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        reply = await self.exchange(head.encode())
        if b" 101 " not in reply.split(b"\r\n", 1)[0]:
            raise ConnectionError(reply[:_SHOWN_BYTES].decode("latin-1"))
        self.is_open = True

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

    def is_answer(self, reply: bytes) -> bool:
        """Answer pings, and raise for a close."""
        opcode = reply[0] & 0x0F
        if not self.is_open or opcode in (0x1, 0x2):
            return True
        if opcode == 0x9:
            body = reply[2:]
            self.transport.write(struct.pack("!BB", 0x8A, 0x80 | len(body)) + bytes(4) + body)
        return False

    async def ask(self, request: bytes) -> str:
        """Ask; the first success is read in full, the others by their beginning."""
        reply = await self.exchange(request)
        head = reply[:_SHOWN_BYTES]
        if b'"success"' not in head:
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

    async def ask(self, request: bytes) -> str:
        """Ask; the first success is read in full, the others by their status."""
        reply = await self.exchange(request)
        status = reply[9:12].decode()
        if status != "200":
            return f"http_{status}"
        if not self.has_checked:
            body = json.loads(reply[reply.index(b"\r\n\r\n") + 4 :])
            self.has_checked = bool(body["data"][0]["embedding"])
        return "ok"
