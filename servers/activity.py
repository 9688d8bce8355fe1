"""The last requests of one server and those that it works on now, for whoever looks at its page.

Decides what is remembered of a request: when, which command, how it ended, how long it took. Bodies are never
kept. Does not know the doors that the requests came through, nor any clock but the ones it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ["MOST_REMEMBERED", "Activity", "Waiting"]

MOST_REMEMBERED = 200


class Waiting(Protocol):
    """A request that is not answered yet; `received_at` is an instant of the loop's clock."""

    received_at: float
    size_bytes: int

    @property
    def command(self) -> str:
        """The request's type."""


class Activity:
    """The newest 200 answers and the unanswered requests; used from the event loop only."""

    def __init__(self) -> None:
        """None yet."""
        self._answered: deque[tuple[float, str, str, float]] = deque(maxlen=MOST_REMEMBERED)
        self._waiting: set[Waiting] = set()

    def begun(self, request: Waiting) -> None:
        """Somebody waits for an answer to this."""
        self._waiting.add(request)

    def ended(self, request: Waiting) -> None:
        """Nobody waits for it any longer; idempotent."""
        self._waiting.discard(request)

    def answered(self, at_s: float, command: str, code: str, seconds: float) -> None:
        """Remember one answer, given at the epoch second `at_s`; `code` is "ok" or the failure's."""
        self._answered.append((at_s, command, code, seconds))

    def document(self, now: float, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """`recent` and `in_flight`, newest first; `now` is an instant of the loop's clock.

        Times are epoch milliseconds, durations milliseconds. Commands in `without` are left out of
        `in_flight`.
        """
        waiting = sorted(self._waiting, key=lambda request: request.received_at, reverse=True)
        return {
            "recent": [
                {"at": round(at_s * 1000), "op": command, "code": code, "ms": round(seconds * 1000, 3)}
                for at_s, command, code, seconds in reversed(self._answered)
            ],
            "in_flight": [
                {
                    "op": request.command,
                    "age_ms": round((now - request.received_at) * 1000, 3),
                    "size_bytes": request.size_bytes,
                }
                for request in waiting
                if request.command not in set(without)
            ],
        }
