"""What a supervisor starts with, and what it must be able to hand on.

Decides which descriptors of the guardian before are kept, and that a stack which begins anew gives up those
of the stack before. Knows nothing of services.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.children.handover import Handover
from launcher.children.parent import Parent
from launcher.running.continuity import OF_CHILDREN
from launcher.running.journal import Journal
from launcher.running.ownership import keep_ownership
from launcher.runtime_dir import RuntimePaths

__all__ = ["Inheritance"]


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
            for process in self.handover.processes:
                parent.discard(process)
            for name in kept:
                if name.startswith(OF_CHILDREN):
                    parent.drop(name, is_ours=False)

    def control_listener(self) -> socket.socket | None:
        """The listening control socket of the supervisor before, where there is one."""
        held = self.handover.kept.get("control", [])
        return socket.socket(fileno=held[0]) if held else None
