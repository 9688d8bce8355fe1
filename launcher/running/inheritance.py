"""What a supervisor starts with, and what it must be able to hand on.

Decides which descriptors of the guardian before are kept, and that a stack which begins anew gives up those
of the stack before. Knows nothing of services.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.children.handover import Handover
from launcher.children.parent import Parent
from launcher.running.continuity import OF_CHILDREN
from launcher.running.journal import Journal
from launcher.running.ownership import keep_ownership
from launcher.runtime_dir import RuntimePaths
from launcher.wire import close_fds

__all__ = ["Inheritance"]

_END_LIMIT_S = 5.0


@dataclass(frozen=True)
class Inheritance:
    """What a supervisor starts with: its guardian, what that kept, and the stack as it was left (None: anew).

    `arguments` are those of the command line but for descriptors.
    """

    config_path: Path
    paths: RuntimePaths
    arguments: Sequence[str]
    channel: socket.socket
    handover: Handover
    lock_fd: int
    journal: Journal
    notes: Sequence[str]

    def keep(self, parent: Parent) -> None:
        """Be able to hand on to a guardian of our own making what this one keeps."""
        kept = self.handover.kept
        for name in ("lifeline", "notes"):
            if name in kept:
                parent.kept[name] = kept[name]
        keep_ownership(parent, self.lock_fd, self.paths)
        if self.journal.state is None:
            self._begin_anew(parent)

    def _begin_anew(self, parent: Parent) -> None:
        """Nobody knows what was handed over: its processes end, before their ports are needed again."""
        kept = self.handover.kept
        pidfds = [os.dup(process.fds[0]) for process in self.handover.processes if process.ended is None]
        for process in self.handover.processes:
            parent.discard(process)
        for name in [name for name in kept if name.startswith(OF_CHILDREN)]:
            close_fds(kept.pop(name))
            parent.drop(name, is_ours=False)
        deadline = time.monotonic() + _END_LIMIT_S
        for pidfd in pidfds:
            select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
        close_fds(pidfds)

    def control_listener(self) -> socket.socket | None:
        """The listening control socket of the supervisor before, where there is one."""
        held = self.handover.kept.get("control", [])
        return socket.socket(fileno=held[0]) if held else None
