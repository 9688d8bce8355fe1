"""The pipe whose end means that guardian and supervisor are both dead, and the sentinel that waits for it.

A shell, as it is small: it reads, and at end of file becomes the sweeper `launcher.sentinel`; a line tells it
to go. It is the child of the guardian and survives it. Standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from launcher.crashes import Crashes
from launcher.fork_exec import Order, fork_exec

__all__ = ["Sentinels", "dismiss", "start_sentinel"]

_WAIT = 'read -r _ && exit 0; exec "$@"'


def start_sentinel(arguments: Sequence[str]) -> tuple[int, int]:
    """Start a sentinel for the stack with these arguments; returns its pid and the pipe to hold.

    Whoever holds the pipe counts as alive. Raises OSError.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sweeper = [sys.executable, "-m", "launcher.sentinel", *arguments]
    order: Order = {"argv": ["/bin/sh", "-c", _WAIT, "lucid-sentinel", *sweeper]}
    order |= {"environ": dict(os.environ), "cwd": os.getcwd(), "dies_with_parent": False}
    try:
        return fork_exec(order, [reader, 1, 2]), writer
    except OSError:
        os.close(writer)
        raise
    finally:
        os.close(reader)


def dismiss(writer: int) -> None:
    """Let the sentinel at the other end of the pipe go, and close the pipe."""
    with suppress(BrokenPipeError):
        os.write(writer, b"\n")
    os.close(writer)


class Sentinels:
    """The sentinels of one guardian: one at a time, and another when it dies, but not for ever."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Watch over the stack with these arguments, from `start` on."""
        self.pid: int | None = None
        self._arguments = list(arguments)
        self._started_at = 0.0
        self._deaths = Crashes()

    def start(self) -> int:
        """Start one and return the pipe to hold; raises OSError."""
        self.pid, writer = start_sentinel(self._arguments)
        self._started_at = time.monotonic()
        return writer

    def has_ended(self) -> bool:
        """Whether the one that was started has ended since; it is reaped then."""
        if self.pid is None or os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            return False
        self.pid = None
        return True

    def is_worth_another(self) -> bool:
        """Whether one that has ended is replaced: where none can live, starting them would never end."""
        return self._deaths.next_pause_s(time.monotonic() - self._started_at) is not None

    def end(self) -> None:
        """End it, if there is one."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
