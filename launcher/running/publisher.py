"""Who is told of changes: a revision, the last events, and one wake-up per subscriber.

Decides that nothing is queued for a subscriber: it is woken, and reads the latest snapshot and the events it
has not seen from the one ring. A slow subscriber therefore costs no memory and misses nothing but what the
ring has forgotten. Does not know what a snapshot is or how it is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from launcher.snapshot import EventDocument

__all__ = ["Publisher", "Subscriber"]

_EVENTS_KEPT = 1000


class Subscriber:
    """One listener's wake-up and how far it has read; made by `Publisher.subscribe`."""

    def __init__(self, seen_revision: int) -> None:
        """Events up to `seen_revision` are not news to it."""
        self.seen_revision = seen_revision
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is news."""
        self._woken.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when there is news, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()


class Publisher:
    """The revision of the stack, its recent events, and its subscribers."""

    def __init__(self) -> None:
        """Begin at revision 0."""
        self.revision = 0
        self.is_closed = False
        self._events: deque[EventDocument] = deque(maxlen=_EVENTS_KEPT)
        self._subscribers: set[Subscriber] = set()
        self._listeners: list[Callable[[EventDocument], None]] = []

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody listens now."""
        return bool(self._subscribers)

    def next_revision(self) -> int:
        """Count a change and return its number."""
        self.revision += 1
        return self.revision

    def record(self, event: EventDocument) -> None:
        """Keep an event and hand it to the listeners; `changed` tells the subscribers of it."""
        self._events.append(event)
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Callable[[EventDocument], None]) -> None:
        """Call `listener` with each event as it is recorded."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """Wake every subscriber."""
        for subscriber in self._subscribers:
            subscriber.wake()

    def events_since(self, revision: int) -> list[EventDocument]:
        """Return the kept events after `revision`, oldest first."""
        return [event for event in self._events if event["revision"] > revision]

    def subscribe(self) -> Subscriber:
        """Return a new subscriber; give it back with `unsubscribe`."""
        subscriber = Subscriber(self.revision)
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Tell it nothing any more."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """Wake everybody a last time; there will be no more news."""
        self.is_closed = True
        self.changed()
