"""Becoming the guardian: what a supervisor does when the guardian has been killed.

Decides the order: everything that is left of the children is ended, what they wrote last is read, the stack
is written down, and this process is replaced by a guardian that holds the same listening sockets, so that no
client is refused. That guardian starts a supervisor, which starts the children anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence

from launcher.children.parent import Parent
from launcher.running.continuity import Continuity
from launcher.running.journal import Journal, sweep_processes
from launcher.running.stack import Stack

__all__ = ["become_guardian"]


def become_guardian(
    parent: Parent, stack: Stack, continuity: Continuity, arguments: Sequence[str], log: Callable[[str], None]
) -> None:
    """Replace this process; never returns. `arguments` are those of the supervisor but for descriptors."""
    log("the guardian was killed, and the children with it; this process becomes the guardian")
    journal = Journal(stack.journal_entries(), parent.nonce)
    for note in sweep_processes(journal, "left behind by the guardian that was killed"):
        log(note)
    for child in stack.children.values():
        child.drain()
    continuity.write()
    for fds in parent.kept.values():
        for fd in fds:
            os.set_inheritable(fd, True)
    kept = json.dumps(parent.kept)
    os.execv(sys.executable, [sys.executable, "-m", "launcher.guardian", *arguments, "--resume", kept])
