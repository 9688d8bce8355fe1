"""Being the one owner of a stack: the lock, what the owner before left behind, and what the user must hear.

Decides what is cleaned up by whom takes over an ownership, and that every clean-up is told to the next user
who starts the stack. Knows nothing of services.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from launcher.children.handover import Handover
from launcher.children.parent import Parent
from launcher.running.journal import sweep
from launcher.runtime_dir import OwnerLock, RuntimePaths, write_owner_pid

__all__ = ["clean_up", "keep_ownership", "open_notes", "own", "take_notes", "write_notes"]

_LOCK = "lock"


def own(paths: RuntimePaths, config_path: Path, handover: Handover) -> tuple[int, list[str]]:
    """Return the lock's descriptor and notes for the user; the guardian is the owner.

    Takes the lock, or goes on with the one that was handed over. Raises AlreadyOwned. When it was free,
    whatever a dead owner left behind is ended.
    """
    handed = handover.kept.pop(_LOCK, [])
    if handed:
        write_owner_pid(handed[0], os.getppid())
        return handed[0], []
    lock = OwnerLock(paths, config_path, os.getppid())
    return lock.descriptor, [*take_notes(paths), *clean_up(paths, lock)]


def clean_up(paths: RuntimePaths, lock: OwnerLock) -> list[str]:
    """End what a dead owner left behind; returns a note for each process, and one for the owner."""
    pid = lock.dead_predecessor
    notes = sweep(paths.journal)
    if pid is None:
        return notes
    return [f"the stack before this one (pid {pid}) was killed; its services ended with it", *notes]


def take_notes(paths: RuntimePaths) -> list[str]:
    """Return what was left to be said, once."""
    try:
        lines = paths.notes.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    paths.notes.unlink(missing_ok=True)
    return lines


def write_notes(paths: RuntimePaths, notes: Sequence[str]) -> None:
    """Leave something to be said to whoever starts the stack next."""
    fd = open_notes(paths)
    try:
        os.write(fd, "".join(f"{note}\n" for note in notes).encode())
    finally:
        os.close(fd)


def open_notes(paths: RuntimePaths) -> int:
    """Return a descriptor to append notes to, for somebody who knows no paths."""
    return os.open(paths.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def keep_ownership(parent: Parent, lock_fd: int, paths: RuntimePaths) -> None:
    """Let the guardian hold the lock, and write a note should it have to give up."""
    parent.keep(_LOCK, [lock_fd])
    if "notes" not in parent.kept:
        parent.keep("notes", [open_notes(paths)])
