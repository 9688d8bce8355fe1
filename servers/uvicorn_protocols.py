"""uvicorn's two protocol classes with the limits that it lacks.

Measured on uvicorn 0.54: a connection that sends nothing or half a request head lives forever; httptools
takes head fields without end; fields that the `websockets` parser refuses leave the client hanging without
an answer; a peer that stopped reading is never cut, since closing waits for a buffer that never drains; the
code of a close is lost to a peer that still sends, such as the rest of a message that is too big; and every
refused or abandoned handshake is reported as an error of the application.
These are private classes of uvicorn: pyproject.toml pins the minor version and tests hold every row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.protocol import State

from servers.short_frames import FrameCutter, text_frame
from servers.stuck_writer import StuckWriter

__all__ = ["Aborting", "BoundedHead", "ConnectionLedger"]

HEAD_TIMEOUT_S = 5.0
MOST_HEAD_BYTES = 16_384
MOST_FIELDS = 100
MOST_FIELD_BYTES = 8_000
"""Of all fields and the target together; the `websockets` parser answers no line above 8,192 bytes."""

MOST_UNREAD = 8
"""Messages of one WebSocket that may wait for the session before reading stops."""

ABORT_AFTER_CLOSE_S = 1.0
CLOSE_TIMEOUT_S = 10.0

_CLOSING = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + _CLOSING
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request" + _CLOSING


class ConnectionLedger(ServerState):
    """uvicorn's shared state, which also tells when the last connection has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied = asyncio.Event()
        self.emptied.set()

    def update(self) -> None:
        """Call after a connection came or went."""
        if self.connections:
            self.emptied.clear()
        else:
            self.emptied.set()


class _HeadTooLarge(Exception):
    """Raised into the parser to stop it; answered with 431."""


class HeadLimit:
    """What one request head may use: time, bytes, fields.

    `refuse` is called when it is too large and `cut` when it is too slow.
    """

    timeout_s = HEAD_TIMEOUT_S

    def __init__(
        self, loop: asyncio.AbstractEventLoop, refuse: Callable[[], None], cut: Callable[[], None]
    ) -> None:
        self._loop, self._refuse, self._cut = loop, refuse, cut
        self._timer: asyncio.TimerHandle | None = None
        self._bytes = self._fields = self._field_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether a head is awaited or under way."""
        return self._timer is not None

    def open(self) -> None:
        """A head begins, or is awaited; one that is already under way keeps its time."""
        if self._timer is None:
            self._bytes = self._fields = self._field_bytes = 0
            self._timer = self._loop.call_later(self.timeout_s, self._cut)

    def close(self) -> None:
        """The head is complete, or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count_packet(self, size_bytes: int) -> None:
        """Counts a packet that did not complete the head."""
        self._bytes += size_bytes
        if self._bytes > MOST_HEAD_BYTES:
            self._refuse()

    def count_part(self, size_bytes: int, *, is_field: bool = True) -> None:
        """Counts a parsed field or the target.  Raises _HeadTooLarge, which stops the parser."""
        self._fields += is_field
        self._field_bytes += size_bytes
        if self._fields > MOST_FIELDS or self._field_bytes > MOST_FIELD_BYTES:
            self._refuse()
            raise _HeadTooLarge


class BoundedHead(HttpToolsProtocol):
    """HTTP/1.1 whose request heads arrive whole within 5 s, 16 KiB and 100 fields."""

    _head: HeadLimit
    _writer: StuckWriter
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._writer = StuckWriter(self.loop, transport)
        self._head = HeadLimit(self.loop, self._refuse_head, transport.abort)
        self._head.open()
        _note_connections(self.server_state)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.close()
        self._writer.disarm()
        super().connection_lost(exc)
        _note_connections(self.server_state)

    def data_received(self, data: bytes) -> None:
        was_open = self._head.is_open
        # Parsed first: a body may ride in the packet that ends a head, and one may end where a head begins.
        super().data_received(data)
        if was_open and self._head.is_open:
            self._head.count_packet(len(data))

    def on_message_begin(self) -> None:
        self._head.open()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head.count_part(len(url), is_field=False)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.count_part(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head.close()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._head.close()
        self._writer.disarm()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        # Whatever the parser raised in a callback ends here; our own refusal has a better answer.
        if not self._is_refused:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writer.arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writer.disarm()

    def _refuse_head(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            self.transport.write(_TOO_LARGE)
            self.transport.close()


class Aborting(WebSocketsSansIOProtocol):
    """WebSocket whose peer is cut once it stopped reading or sent an unreadable handshake."""

    abort_after_close_s = ABORT_AFTER_CLOSE_S
    drop_for_s = CLOSE_TIMEOUT_S
    _writer: StuckWriter
    _cutter: FrameCutter | None = None
    _has_failed = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._state = server_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._writer = StuckWriter(self.loop, self.transport)
        _note_connections(self._state)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writer.disarm()
        super().connection_lost(exc)
        _note_connections(self._state)

    def data_received(self, data: bytes) -> None:
        if self._has_failed:
            return
        if self._cutter is None:
            self._receive_handshake(data)
            return
        for piece, text in self._cutter.cut(data):
            if text is not None and self._is_open():
                self.frames = [text]
                self.send_receive_event_to_app()
            else:
                super().data_received(piece)

    def handle_parser_exception(self) -> None:
        # A socket that is closed with unread input resets, and the reset may overtake the close: so what
        # still comes is dropped until the peer is done or its time is over.
        if self._has_failed or self.conn.close_sent is None:
            return
        self._has_failed = self.close_sent = True
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.close_timer = self.loop.call_later(self.drop_for_s, self.transport.abort)

    def _receive_handshake(self, data: bytes) -> None:
        is_first = not self.handshake_initiated
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # Not a GET, or a body with it: upstream would wait for ever without an answer.
            self.transport.write(_BAD_REQUEST)
            self.handshake_complete = True
            self.transport.close()
        elif is_first and self.handshake_initiated and data.find(b"\r\n\r\n") == len(data) - 4:
            # Frames begin with the next packet.  Who sends some ahead is left to the parser.
            self._cutter = FrameCutter(self.config.ws_max_size)

    def _is_open(self) -> bool:
        return self.conn.state is State.OPEN and not self.close_sent

    async def send(self, message: ASGISendEvent) -> None:
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is not None and self._is_open() and self.writable.is_set() and not self.disconnected:
            self.transport.write(text_frame(str(text).encode()))
            return
        await super().send(message)
        if message["type"] == "websocket.accept" and not self.handshake_complete:
            # The client left while it waited: upstream drops the answer without a word to the application.
            raise ClientDisconnected
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # Upstream forgets that a refusal completes a handshake too, and reports each as an error.
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        # Upstream stops reading after every message until it is taken, which costs two system calls each.
        # The session takes messages as they come, so a few may wait.
        # It gets bytes and decodes them: upstream closes the connection for a text that is not UTF-8.
        self.curr_msg_data_type = "bytes"
        was_paused, self.read_paused = self.read_paused, True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        if not was_paused and self.queue.qsize() >= MOST_UNREAD:
            self.read_paused = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writer.arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writer.disarm()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_soon()

    def _abort_soon(self) -> None:
        self.loop.call_later(self.abort_after_close_s, self.transport.abort)


def _note_connections(state: ServerState) -> None:
    if isinstance(state, ConnectionLedger):
        state.update()
