"""One WebSocket connection: frames in, exactly one reply each, in request order (protocol.md §3).

Decides what is accepted, refused, run at once, cancelled and answered.  Does not know the transport (it is
given ASGI's `receive` and `send`) nor what a command does.

One task always receives.  That is not for speed: uvicorn stops reading, pongs included, while a message
waits, so a handler that computed without receiving would let the keepalive close a healthy client; and the
receiver is also what notices a client that has gone, whose work is then cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from servers.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    OriginNull,
    RequestError,
    ShuttingDown,
)
from servers.open_requests import CANCEL, MOST_WAITING, OpenRequests, Slot
from servers.protocol import Envelope, decode, encode, failure, parse, success, unknown_command
from servers.service import Command, RequestContext, Service
from servers.settings import ServerSettings

__all__ = ["NULL_ORIGIN_TEXT", "Session", "unforeseen"]

logger = logging.getLogger("lucid.session")

MOST_TIMEOUT_MS = 86_400_000

NULL_ORIGIN_TEXT = (
    "This page has no origin (it was opened from a file or is sandboxed), so only `stats` is answered. "
    "Open the page through http://localhost, or set allowed_origins: ['null'] in this server's options."
)
_EXPIRED = "The request's timeout_ms passed before it was done; it was dropped."

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(eq=False)
class Session:
    """Serves one accepted WebSocket until either side closes it.

    `is_restricted` is for pages without an origin: only `stats` is answered.  `close_code` is sent after a
    drain.
    """

    service: Service
    settings: ServerSettings
    connection_id: int
    is_restricted: bool
    receive: Receive
    send: Send
    close_code: int = 1001
    _is_draining: bool = False

    def __post_init__(self) -> None:
        self._commands = {command.name: command for command in self.service.commands}
        self._names = frozenset({*self._commands, CANCEL})
        self._order: asyncio.Queue[Slot | None] = asyncio.Queue(2 * MOST_WAITING)
        self._unsent = 0
        self._running = asyncio.Semaphore(self.settings.max_in_flight)
        self._loop = asyncio.get_running_loop()
        self._open = OpenRequests(
            self.service.telemetry, self._names, 2 * self.settings.max_message_bytes, self._loop.time
        )

    async def run(self) -> None:
        """Serves until the peer is gone or the drain has answered everything; then nothing of it runs on."""
        async with asyncio.TaskGroup() as tasks:
            receiver = tasks.create_task(self._receive_requests(tasks))
            sender = tasks.create_task(self._send_replies())
            try:
                await asyncio.wait({receiver, sender}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                receiver.cancel()
                sender.cancel()
                self.abandon()

    def drain(self) -> None:
        """Takes no new requests, answers the accepted ones, then closes.  Idempotent."""
        self._is_draining = True
        if self._order.empty():
            self._order.put_nowait(None)

    def abandon(self) -> None:
        """Cancels everything that is still computed; its replies say so if the peer is still there."""
        self._open.cancel_all()

    async def _receive_requests(self, tasks: asyncio.TaskGroup) -> None:
        while (event := await self.receive())["type"] != "websocket.disconnect":
            text = event.get("text")
            slot = self._accept(text if text is not None else event["bytes"], tasks)
            if slot.reply is not None and not self._unsent and not self._is_draining:
                # Nothing goes before it, the close of a drain included.  There may be very many refusals, so
                # they take the shortest way.
                await self._send_reply(slot.reply)
            else:
                self._unsent += 1
                await self._order.put(slot)

    async def _send_reply(self, reply: str) -> None:
        try:
            await self.send({"type": "websocket.send", "text": reply})
        except OSError as error:
            self._note_gone(error)

    async def _send_replies(self) -> None:
        try:
            await self._send_in_order()
        except OSError as error:
            self._note_gone(error)

    def _note_gone(self, error: OSError) -> None:
        # Both uvicorn's ClientDisconnected and a reset: a client may leave whenever it likes.
        logger.debug("connection %d: the client is gone (%r)", self.connection_id, error)

    async def _send_in_order(self) -> None:
        while not (self._is_draining and self._order.empty()):
            slot = await self._order.get()
            if slot is None:
                continue
            if slot.answered is not None:
                await slot.answered
            await self.send({"type": "websocket.send", "text": self._reply(slot)})
            self._open.close(slot)
            self._unsent -= 1
        await self.send({"type": "websocket.close", "code": self.close_code, "reason": "shutting down"})

    def _accept(self, frame: str | bytes, tasks: asyncio.TaskGroup) -> Slot:
        """Gives a frame its place; its answer is either here already or a task."""
        slot = Slot(None, self._loop.time(), len(frame))
        try:
            slot.envelope = decode(frame, commands=None if self.is_restricted else self._names)
            self._open.open(slot, tasks.create_task(self._admitted(slot)))
        except RequestError as error:
            slot.reply = self._refused(slot, error)
        except Exception:
            slot.reply = self._refused(slot, unforeseen(slot.command))
        return slot

    def _admitted(self, slot: Slot) -> Coroutine[Any, Any, str]:
        """The coroutine that answers this request; raises RequestError when it is refused at once."""
        envelope = slot.envelope
        assert envelope is not None, "only a decoded request is admitted"
        if self.is_restricted and envelope.type != "stats":
            raise OriginNull(NULL_ORIGIN_TEXT)
        if self._is_draining:
            raise ShuttingDown("The server is shutting down; connect again shortly.", retry_after=1.0)
        if envelope.type == CANCEL:
            return self._cancel(slot, envelope)
        command = self._commands.get(envelope.type)
        if command is None:
            raise unknown_command(envelope.type, self._names)
        self._open.require_room(slot)
        deadline = read_deadline(envelope, slot.received_at)
        request = parse(command.request, envelope)
        if command.needs_ready and not self.service.check_alive():
            raise self.service.readiness.loading_error()
        if command.admit is not None:
            command.admit(request)
        context = RequestContext(self.connection_id, deadline, slot.received_at)
        return self._answer(slot, envelope, command, context, request)

    async def _answer(
        self, slot: Slot, envelope: Envelope, command: Command, context: RequestContext, request: Any
    ) -> str:
        try:
            async with self._running if context.deadline is None else self._in_time(context.deadline):
                payload = await command.handle(context, request)
            if envelope.wants_timing:
                spent = context.stages.document(self._loop.time() - slot.received_at)
                payload = {**payload, "timing": spent}
            text = encode(success(envelope, payload))
        except RequestError as error:
            return self._refused(slot, error)
        except Exception:
            return self._refused(slot, unforeseen(command.name))
        self._open.record(slot, "ok")
        return text

    @asynccontextmanager
    async def _in_time(self, deadline: float) -> AsyncIterator[None]:
        """Waits for its turn; raises DeadlineExceeded when the deadline passes first, or within the block."""
        try:
            async with asyncio.timeout_at(deadline) as limit, self._running:
                # A deadline that passed while the request waited has not interrupted anything yet.
                if self._loop.time() >= deadline:
                    raise DeadlineExceeded(_EXPIRED)
                yield
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceeded(_EXPIRED) from error
            raise

    async def _cancel(self, slot: Slot, envelope: Envelope) -> str:
        wanted = envelope.echo.get("id", envelope.data.get("id"))
        if wanted is None:
            return self._refused(slot, InvalidRequest("id: cancel needs the id of the request to drop."))
        running = self._open.cancel(wanted)
        if running:
            await asyncio.wait(running)
        self._open.record(slot, "ok")
        # A store that had begun to commit ends well in spite of the cancel: say what really happened.
        return encode(success(envelope, {"cancelled": any(task.cancelled() for task in running)}))

    def _reply(self, slot: Slot) -> str:
        if slot.task is None:
            assert slot.reply is not None, "a slot without a task was answered at once"
            return slot.reply
        if not slot.task.cancelled():
            return slot.task.result()
        error: RequestError = ShuttingDown("The server shut down before this was done.", retry_after=1.0)
        if slot.was_cancelled:
            error = Cancelled("The request was cancelled by the client.")
        return encode(failure(error, slot.envelope))

    def _refused(self, slot: Slot, error: RequestError) -> str:
        self._open.record(slot, error.code)
        return encode(failure(error, slot.envelope))


def read_deadline(envelope: Envelope, received_at: float) -> float | None:
    """The instant of `loop.time()` at which `data.timeout_ms` (a number, 0 or more) passes; None without one.

    Raises InvalidRequest for anything else than a number from 0 to 86,400,000 (a day).
    """
    timeout_ms = envelope.data.get("timeout_ms")
    if timeout_ms is None:
        return None
    is_number = isinstance(timeout_ms, int | float) and not isinstance(timeout_ms, bool)
    if not is_number or not 0 <= timeout_ms <= MOST_TIMEOUT_MS:
        raise InvalidRequest(
            f"timeout_ms: must be milliseconds from 0 to {MOST_TIMEOUT_MS}; got {str(timeout_ms)[:40]}.",
            details={"field": "timeout_ms"},
        )
    return received_at + float(timeout_ms) / 1000


def unforeseen(command: str) -> InternalError:
    """Logs the exception being handled under a new incident id; returns what the client is told instead."""
    incident = uuid4().hex[:12]
    logger.exception("incident %s: %s failed unexpectedly", incident, command)
    return InternalError(incident)
