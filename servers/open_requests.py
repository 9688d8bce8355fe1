"""The requests of one connection that wait for an answer, or whose answer waits to leave.

Decides how much one client may pile up, finds a request by its id, and counts.  Does not know what the
requests do, nor how frames are read and written: `servers.session` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from servers.errors import Cancelled, Overloaded
from servers.protocol import Envelope
from servers.telemetry import Telemetry

__all__ = ["CANCEL", "MOST_WAITING", "OpenRequests", "Slot"]

CANCEL = "cancel"
"""The command that every server has: drop this connection's request of that id."""

MOST_WAITING = 1024
"""Requests of one connection whose replies have not left yet; more are refused as overloaded."""


@dataclass(eq=False)
class Slot:
    """The place of one reply in the order of a connection; answered by `reply` at once or by `task`.

    `answered` is done when `task` is, however it ended.
    """

    envelope: Envelope | None
    received_at: float
    size_bytes: int = 0
    reply: str | None = None
    task: asyncio.Task[str] | None = None
    was_cancelled: bool = False
    answered: asyncio.Future[None] | None = None

    @property
    def command(self) -> str:
        """The request's type, for counting."""
        return self.envelope.type if self.envelope else "unreadable"

    def has_id(self, wanted: object) -> bool:
        """Whether this is a request of that id; ids compare by type too, so that 1 is not true."""
        found = self.envelope.echo.get("id") if self.envelope else None
        return self.command != CANCEL and type(found) is type(wanted) and found == wanted


class OpenRequests:
    """The slots with a task of one connection, bounded in number and in bytes.

    Bytes are those of the requests and, once answered, of the replies: a client that sends and does not read
    must not fill the memory.  `clock` is the loop's.
    """

    def __init__(
        self, telemetry: Telemetry, names: Collection[str], most_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._telemetry, self._names, self._most_bytes, self._clock = telemetry, names, most_bytes, clock
        self._slots: set[Slot] = set()
        self._bytes = 0

    def require_room(self, slot: Slot) -> None:
        """Raises Overloaded when this request is one too many."""
        if len(self._slots) >= MOST_WAITING or self._bytes + slot.size_bytes > self._most_bytes:
            raise Overloaded(
                f"{len(self._slots)} requests of this connection already wait; read their replies first.",
                retry_after=1.0,
            )

    def open(self, slot: Slot, task: asyncio.Task[str]) -> None:
        """Takes in a slot that `task` answers; close it when its reply has left."""
        slot.task = task
        slot.answered = task.get_loop().create_future()
        self._slots.add(slot)
        self._bytes += slot.size_bytes
        self._telemetry.in_flight += 1
        self._telemetry.activity.begun(slot)
        task.add_done_callback(lambda _: self._settle(slot, task))

    def close(self, slot: Slot) -> None:
        """The reply has left; a slot without a task was never open."""
        if slot in self._slots:
            self._slots.discard(slot)
            self._bytes -= slot.size_bytes

    def cancel(self, wanted: object) -> set[asyncio.Task[str]]:
        """Asks the unanswered requests of that id to end; returns their tasks, to be awaited."""
        found = set()
        for slot in self._slots:
            if slot.task is not None and not slot.task.done() and slot.has_id(wanted):
                slot.was_cancelled = True
                slot.task.cancel()
                found.add(slot.task)
        return found

    def cancel_all(self) -> None:
        """Asks everything that is still computed to end."""
        for slot in self._slots:
            if slot.task is not None:
                slot.task.cancel()

    def record(self, slot: Slot, code: str) -> None:
        """Counts an answer; types that are no command are one type, or clients could invent metrics."""
        known = slot.command if slot.command in self._names else "unknown"
        self._telemetry.record(known, code, self._clock() - slot.received_at)

    def _settle(self, slot: Slot, task: asyncio.Task[str]) -> None:
        self._telemetry.in_flight -= 1
        self._telemetry.activity.ended(slot)
        if slot.answered is not None and not slot.answered.done():
            slot.answered.set_result(None)
        if task.cancelled():
            self.record(slot, Cancelled.code)
        elif task.exception() is None and slot in self._slots:
            growth = len(task.result()) - slot.size_bytes
            slot.size_bytes += growth
            self._bytes += growth
