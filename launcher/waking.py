"""What wakes the guardian's one thread: signals, the ends of children, descriptors, and its own clock.

Decides which signals are kept to be passed on, in their order. What is done about them is `guarding`'s.
Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from contextlib import suppress

__all__ = ["Waker"]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Waker:
    """The one place where the guardian sleeps; it changes the signal handlers of this process."""

    def __init__(self) -> None:
        """Wake for SIGCHLD and for what is to be passed on; descriptors are registered with `poller`."""
        self.poller = select.poll()
        self.signals: deque[int] = deque()
        """SIGTERM, SIGINT and SIGHUP as they came; whoever passes one on takes it out."""
        self._wake_fd, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in _FORWARDED:
            signal.signal(number, lambda number, frame: self.signals.append(number))
        self.poller.register(self._wake_fd, select.POLLIN)

    @property
    def is_asked_to_end(self) -> bool:
        """Whether a signal waits that asks for the end."""
        return any(number != signal.SIGHUP for number in self.signals)

    def wait(self, timeout_s: float | None) -> None:
        """Return when something has happened, or after `timeout_s`."""
        self.poller.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
