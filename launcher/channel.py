"""The guardian's end of the channel to one supervisor: what cannot be sent at once waits here, in its order.

Decides that the guardian never waits for a supervisor, as one that hangs must not stop it, and what a failure
to send means. Knows nothing of what the messages mean. Standard library only.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Sequence

from launcher.wire import Message, close_fds, receive, send

__all__ = ["Channel"]

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})
_PASSING = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Something has run short for a while; the supervisor is there and waits for the message."""


class Channel:
    """Messages to and from one supervisor; use it on the one thread of the guardian."""

    def __init__(self, end: socket.socket, poller: select.poll) -> None:
        """Talk on `end`, which is ours to close, and have `poller` wake us when there is something to do."""
        self.is_short = False
        """Whether a message waits for something that no descriptor tells of: `flush` again soon."""
        self._end = end
        self._poller = poller
        self._waiting: deque[tuple[Message, list[int]]] = deque()
        poller.register(end, select.POLLIN)

    def tell(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message after those that wait already; `fds` stay the caller's."""
        if self._waiting or not self._send(message, fds):
            # The caller may close them before it is this message's turn.
            self._waiting.append((message, [os.dup(fd) for fd in fds]))

    def flush(self) -> None:
        """Send what can be sent without waiting."""
        while self._waiting and self._send(*self._waiting[0]):
            close_fds(self._waiting.popleft()[1])

    def _send(self, message: Message, fds: Sequence[int]) -> bool:
        """Send one message; False when it has to wait. To a supervisor that is gone all is as good as sent:
        its pidfd says so as well, and the next one is told everything anew.
        """
        self.is_short = False
        events = select.POLLIN
        try:
            send(self._end, message, fds, wait=False)
        except BlockingIOError:
            events |= select.POLLOUT
        except OSError as error:
            self.is_short = error.errno in _PASSING
            if not self.is_short and error.errno not in _GONE:
                raise
        self._poller.modify(self._end, events)
        return not self.is_short and events == select.POLLIN

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message and its descriptors, or None when the supervisor is gone.

        Raises BlockingIOError when nothing is there, and LostDescriptors.
        """
        return receive(self._end, wait=False)

    def close(self) -> None:
        """Hang up."""
        for _, fds in self._waiting:
            close_fds(fds)
        self._waiting.clear()
        self._poller.unregister(self._end)
        self._end.close()
