"""Time limits that are fair: only time in which this loop ran, and the child could run, counts.

Decides that a limit which ran down while the supervisor itself was held up (stopped, starved, suspended) is
extended, as nothing that the child said meanwhile could be heard; and that time which a child spent waiting
for a processor is not held against it. All of it is bounded, so that a hung child is ended in the end. Does
not know what is limited.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["CHANCE_S", "LATE_S", "FairTimer", "Starvation", "starved_s"]

LATE_S = 0.25
"""A loop that comes so much later than it was due has been held up."""
CHANCE_S = 5.0
"""What is left of a limit, at least, after a time in which nobody could be heard."""
_TICK_S = 1.0
_EXTENSIONS = 20
_WORTH_S = 0.05
_MOST_EXCUSES = 10


class FairTimer:
    """One timer, set again and again; lives on the loop's thread."""

    def __init__(self) -> None:
        """Nothing is set."""
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._fire: Callable[[], None] = lambda: None
        self._starved_s: Callable[[], float] | None = None
        self._starved_before_s = 0.0
        self._delay_s = self._left_s = self._due_at = 0.0
        self._extensions_left = 0

    def start(self, delay_s: float, fire: Callable[[], None]) -> None:
        """Call `fire` once after `delay_s`; whatever was set before is forgotten."""
        self._set(delay_s, fire, None)
        self._handle = self._loop.call_later(delay_s, fire)

    def start_fair(
        self, delay_s: float, fire: Callable[[], None], starved_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """As `start`, but a hold-up of this loop does not count, and after one there are some seconds left.

        `starved_s` tells how long whoever is limited has ever waited for a processor: what is added from now
        on is given back when the time is up.
        """
        self._set(delay_s, fire, starved_s)
        self._starved_before_s = starved_s()
        self._arm()

    def cancel(self) -> None:
        """Nothing will be called; idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, delay_s: float, fire: Callable[[], None], starved_s: Callable[[], float] | None) -> None:
        self.cancel()
        self._fire, self._starved_s = fire, starved_s
        self._delay_s = self._left_s = delay_s
        self._extensions_left = _EXTENSIONS

    def _arm(self) -> None:
        self._due_at = self._loop.time() + min(self._left_s, _TICK_S)
        self._handle = self._loop.call_at(self._due_at, self._tick)

    def _tick(self) -> None:
        late_s = self._loop.time() - self._due_at
        if late_s > LATE_S and self._extensions_left:
            self._extensions_left -= 1
            self._left_s = max(self._left_s, min(self._delay_s, CHANCE_S))
        else:
            self._left_s -= min(self._left_s, _TICK_S)
            if self._left_s <= 0:
                self._left_s = self._given_back_s()
        if self._left_s > 0:
            self._arm()
        else:
            self._handle = None
            self._fire()

    def _given_back_s(self) -> float:
        """What is left after all: less than it ran, so that the limit comes to an end."""
        if self._starved_s is None or not self._extensions_left:
            return 0.0
        self._extensions_left -= 1
        starved_s = self._starved_s()
        added_s = min(starved_s - self._starved_before_s, self._delay_s)
        self._starved_before_s = starved_s
        return added_s if added_s > max(_WORTH_S, self._delay_s / 100) else 0.0


class Starvation:
    """Whether failures in a row can be put down to a child that had no processor to answer on."""

    def __init__(self, starved_s: Callable[[], float]) -> None:
        """`starved_s` tells how long it has ever waited for one; it is asked when something has failed."""
        self._starved_s = starved_s
        self._before: tuple[float, float] | None = None
        self._excused = 0

    def ended(self) -> None:
        """It has answered."""
        self._before, self._excused = None, 0

    def excuses(self, now: float) -> bool:
        """Whether the child spent most of the time since the failure before waiting for a processor.

        Never for the first of a row, and only so often.
        """
        before, self._before = self._before, (now, self._starved_s())
        if before is None or self._excused >= _MOST_EXCUSES:
            return False
        is_starved = self._before[1] - before[1] > (now - before[0]) / 2
        self._excused += is_starved
        return is_starved


def starved_s(pid: int) -> float:
    """Return for how long the thread of `pid` that waited most has waited for a processor, in seconds.

    0 where the kernel does not tell (`/proc/<pid>/task/*/schedstat`), and for a process that is gone.
    """
    longest_ns = 0
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError, IndexError, ValueError):
                told = Path(f"/proc/{pid}/task/{thread}/schedstat").read_bytes().split()
                longest_ns = max(longest_ns, int(told[1]))
    return longest_ns / 1e9
