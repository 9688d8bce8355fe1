"""A change of a child's state, told once: as an event for programs, as a line for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from launcher.children.runtime import ChildRuntime
from launcher.lifecycle_values import Child, Event
from launcher.logs.line_format import stamp
from launcher.running.change_text import cause_of, describe_change
from launcher.running.publisher import Publisher

__all__ = ["Announcer"]


class Announcer:
    """Tells of changes through a publisher and a log."""

    def __init__(self, publisher: Publisher, log: Callable[[str], None]) -> None:
        """Nothing is told before `announce`."""
        self._publisher = publisher
        self._log = log

    def announce(
        self, child: ChildRuntime, before: Child, event: Event, missing: Sequence[str], now: float
    ) -> None:
        """Tell that `event` has made the child's life what it is now; `missing` are the dependencies that it
        lacks, `now` is of the loop's clock.
        """
        after = child.life
        retry_s = None if after.state != "backoff" or after.due_at is None else after.due_at - now
        detail = describe_change(before, after, missing, retry_s)
        if child.diagnosis is not None and after.state in ("backoff", "failed"):
            detail += f"; what it was doing: {child.diagnosis}"
        self._publisher.record(
            {
                "revision": self._publisher.next_revision(),
                "at": stamp(time.time()),
                "service": child.service.name,
                "child": child.name,
                "from": before.state,
                "to": after.state,
                "cause": cause_of(event, after),
                "reason": after.reason,
                "detail": detail,
                "generation": after.generation,
                "pid": after.pid,
                "diagnosis": child.diagnosis,
            }
        )
        if after.state != "waiting" or missing:
            self._log(f"{child.name} {after.state}: {detail}")
