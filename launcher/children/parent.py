"""The parent of every child: the one place that forks, and that reaps what was orphaned.

Plays the part of the guardian behind the same port: `start` a program, be told of its end. Its process is a
child subreaper, so what a child double-forks away becomes ours instead of pid 1's, and is found and reaped
here.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from launcher.processes import ExitStatus, ProcessTree
from launcher.procfs import NONCE_VARIABLE, scan
from launcher.spawning import SpawnError, SpawnRequest, start_process

__all__ = ["Born", "Parent"]

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Born:
    """A started program: its processes and the read ends of its output, which the caller now owns."""

    tree: ProcessTree
    nonce: str
    stdout_fd: int
    stderr_fd: int


class Parent:
    """Starts programs and reaps orphans; use it on the main thread, inside its running loop."""

    def __init__(self) -> None:
        """Make this process a subreaper and watch for ended orphans until `close`."""
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
        self._leaders: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap_adopted)

    @property
    def has_children(self) -> bool:
        """Whether a program that was started here, or its group, still lives."""
        return bool(self._leaders)

    async def start(
        self,
        request: SpawnRequest,
        on_born: Callable[[int], None],
        on_exit: Callable[[ExitStatus, bool], None],
        on_empty: Callable[[], None],
    ) -> Born:
        """Start a program with a nonce of its own in its environment.

        `on_born` gets the pid before the program can do anything that is seen here, `on_exit` the leader's
        status and whether its group is empty; when it is not, `on_empty` follows once it is. Raises
        SpawnError when nothing came to be.
        """
        nonce = secrets.token_hex(16)
        marked = replace(request, environ={**request.environ, NONCE_VARIABLE: nonce})
        pid = 0

        def note_birth(born: int) -> None:
            nonlocal pid
            pid = born
            self._leaders.add(born)
            on_born(born)

        def note_exit(status: ExitStatus, is_empty: bool) -> None:
            if is_empty:
                self._leaders.discard(pid)
            on_exit(status, is_empty)

        def note_empty() -> None:
            self._leaders.discard(pid)
            on_empty()

        try:
            started = await start_process(marked, note_birth)
        except (SpawnError, asyncio.CancelledError):
            self._leaders.discard(pid)
            raise
        tree = ProcessTree(started, nonce, note_exit, note_empty)
        return Born(tree, nonce, started.stdout_fd, started.stderr_fd)

    def close(self) -> None:
        """Stop watching for orphans and kill those that are still ours, whoever left them."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        ours, session = os.getpid(), os.getsid(0)
        for process in scan():
            if process.parent == ours and process.session != session:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)

    def _reap_adopted(self) -> None:
        """Reap ended orphans; a leader is left to its tree, our own session to the code that started it."""
        ours, session = os.getpid(), os.getsid(0)
        for process in scan():
            is_adopted = process.parent == ours and process.session != session
            if is_adopted and not process.is_alive and process.pid not in self._leaders:
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
