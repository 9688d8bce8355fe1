"""The one timer of a child's life: set by the lifecycle, and an event when it has run down.

Decides which timers are fair to the child: those at which it is signalled. What fair means is `patience`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.children.patience import FairTimer
from launcher.lifecycle_values import TimerFired, TimerKind

if TYPE_CHECKING:
    from launcher.children.runtime import ChildRuntime

__all__ = ["LifeTimer"]

_ENDING = frozenset({"startup", "diagnosis", "grace"})


class LifeTimer:
    """Posts `TimerFired` for the generation for which it was set; lives on the loop's thread."""

    def __init__(self, child: ChildRuntime) -> None:
        """Nothing is set."""
        self._child = child
        self._timer = FairTimer()

    def set(self, kind: TimerKind, delay_s: float) -> None:
        """Fire once after `delay_s`; whatever was set before is forgotten."""
        event = TimerFired(kind, self._child.life.generation)

        def fire() -> None:
            self._child.post(event)

        if kind not in _ENDING:
            self._timer.start(delay_s, fire)
        elif kind == "startup":
            self._timer.start_fair(delay_s, fire, self._child.starved_s)
        else:
            self._timer.start_fair(delay_s, fire)

    def cancel(self) -> None:
        """Post nothing; idempotent."""
        self._timer.cancel()
