"""When a child's clients are answered in its place: while it cannot accept, and its settings say so.

Decides by the state alone, so that whoever changes that has only to say `mind`. How clients are answered is
`stand_in`'s.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from launcher.children.stand_in import StandIn
from launcher.children.stand_in_reply import Situation

if TYPE_CHECKING:
    from launcher.children.runtime import ChildRuntime

__all__ = ["Door"]

_ACCEPTING = frozenset({"starting", "ready", "unhealthy"})
"""States in which the child has, or may have at any moment, its listening sockets for itself."""


class Door:
    """The listening sockets of one child as its clients find them; lives on the loop's thread."""

    def __init__(self, child: ChildRuntime) -> None:
        """Nobody is answered before `mind`."""
        self._child = child
        self._stand_in = StandIn(self._situation)

    def mind(self) -> None:
        """Answer or stop answering, as it is right for the state and the settings that `child` has now."""
        child = self._child
        # Settings that a supervisor before the key was known has written down do not have it.
        choice = getattr(child.service, "while_starting", "wait")
        is_needed = choice == "answer" and child.life.state not in _ACCEPTING and self._is_free()
        self._stand_in.serve(child.prepared.sockets if is_needed else ())

    def _is_free(self) -> bool:
        """Whether we may accept: a process that still lives shares the sockets' flags, and one that expects
        to block must not find that it does not.
        """
        sockets = self._child.prepared.sockets
        return self._child.tree is None or not any(os.get_blocking(held.fileno()) for held in sockets)

    def shut(self) -> None:
        """Accept on no socket, which may be closed now; whoever was accepted is still answered."""
        self._stand_in.serve(())

    def leave(self) -> None:
        """Accept nobody any more, and answer at once whoever waits for an answer."""
        self._stand_in.close()

    def _situation(self) -> Situation:
        life, retry_s = self._child.life, None
        if life.state == "backoff" and life.due_at is not None:
            retry_s = life.due_at - asyncio.get_running_loop().time()
        return Situation(self._child.service.name, life.state, life.desired_up, retry_s)
