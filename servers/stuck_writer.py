"""When a connection is given up because its peer does not read.

Decides how little a peer may take in how long.  Does not know what is written, nor which protocol.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["SEND_TIMEOUT_S", "StuckWriter"]

SEND_TIMEOUT_S = 10.0
LEAST_DRAINED_BYTES = 65_536


class _Transport(Protocol):
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class StuckWriter:
    """Aborts a transport whose peer does not read.

    Armed while writing is paused: less than 64 KiB taken in 10 s is stuck.  A slow peer that does read, say a
    browser behind a tunnel, goes on.
    """

    timeout_s = SEND_TIMEOUT_S

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: _Transport) -> None:
        self._loop, self._transport = loop, transport
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0

    def arm(self) -> None:
        """Writing is paused from now on."""
        self.disarm()
        self._seen = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self.timeout_s, self._check)

    def disarm(self) -> None:
        """Writing goes on, or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        if self._seen - self._transport.get_write_buffer_size() >= LEAST_DRAINED_BYTES:
            self.arm()
        else:
            self._transport.abort()
