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
    """The listening sockets of one child as its clients find them; lives on the loop's thread.

    Children that share a port are one behind it: nobody is answered while one of them can accept, and else
    one door answers for all.
    """

    def __init__(self, child: ChildRuntime) -> None:
        """Nobody is answered before `mind`."""
        self._child = child
        self._stand_in = StandIn(self._situation)

    def mind(self) -> None:
        """Answer or stop answering, as it is right for the state and the settings that `child` has now."""
        child = self._child
        if not child.service.shares_port:
            self._answer(self.is_answering_due())
            return
        # Not among them: one that is on its way out, or about to come.
        doors = [each.door for each in child.around.siblings(child.service.name)] or [self]
        is_due = all(door.is_answering_due() for door in {self, *doors})
        for door in {self, *doors}:
            door._answer(is_due and door is doors[0])

    def is_answering_due(self) -> bool:
        """Whether the child cannot accept, its settings let its clients be answered, and its sockets too."""
        child = self._child
        return child.service.while_starting == "answer" and not self._can_accept() and self._is_free()

    def _answer(self, is_due: bool) -> None:
        self._stand_in.serve(self._child.prepared.client_sockets if is_due else ())

    def _can_accept(self) -> bool:
        child = self._child
        if child.service.shares_port and child.service.server is not None:
            # A built-in server leaves a shared port to the others until it is ready.
            return child.life.state in _ACCEPTING - {"starting"}
        return child.life.state in _ACCEPTING

    def _is_free(self) -> bool:
        """Whether we may accept: a process that still lives shares the sockets' flags, and one that expects
        to block must not find that it does not.
        """
        sockets = self._child.prepared.client_sockets
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
