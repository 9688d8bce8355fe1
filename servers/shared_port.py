"""Accepting on listening sockets that several processes share, so that each gets its share of what comes.

Decides when this process takes a connection from the queue that all of them have, and how many. Nobody else
is asked: whoever has no connection takes the next at once, whoever has some waits a few milliseconds, the
longer the more it has, and then takes half of what is still there. A process that is stopped, or hangs,
simply does not take part. Left to the kernel alone, whoever is awake first takes it, whatever it has already:
of 64 connections to four idle processes one had 40 and one none (measured); by turns each has 14 to 18, and
one that has just been replaced catches up. Does not know what is spoken on a connection.
"""

from __future__ import annotations

import asyncio
import errno
import math
import random
import socket
import struct
from collections.abc import Callable, Sequence

import uvicorn

from servers.listeners import Listeners
from servers.readiness import Readiness
from servers.uvicorn_protocols import BoundedHead

__all__ = ["SharedPort", "open_shared", "turn_after_s"]

_TURN_S = 0.001
_MOST_TURNS = 8.0
_REST_S = 1.0
_FIRST_REQUEST_S = 0.25
"""From the acceptance of a client to its first request: it has not said anything yet that could be kept."""
_ACCEPT_QUEUE = struct.Struct("=24xI")
"""tcpi_unacked of `struct tcp_info`: of a listening socket, how many connections wait to be accepted."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def turn_after_s(connections: int, chance: float) -> float:
    """How long a process with so many connections lets the others go first; `chance` is from 0 to 1.

    At once without any, else up to 12 ms: about a millisecond for each doubling, half more or less.
    """
    return _TURN_S * min(math.log2(1 + connections), _MOST_TURNS) * (0.5 + chance)


class SharedPort:
    """The shared sockets of one process; lives on the loop's thread."""

    def __init__(
        self, listeners: Sequence[socket.socket], make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        """Nothing is accepted before `follow`; the sockets are the caller's."""
        self._listeners = listeners
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._transports: set[asyncio.BaseTransport] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}
        self.is_open = False
        """Whether connections are accepted now."""
        self._accepted_at = -math.inf

    def follow(self, readiness: Readiness) -> None:
        """Accept while `readiness` says that requests can be served, and else leave it to the others."""

        def changed(now: Readiness) -> None:
            self._loop.call_soon_threadsafe(self._set_open, now)

        readiness.subscribe(changed)
        self._set_open(readiness)

    def leave_s(self) -> float:
        """Accept nobody any more; returns how long whoever was accepted last may take to ask, in seconds."""
        self.close()
        return max(0.0, self._accepted_at + _FIRST_REQUEST_S - self._loop.time())

    def close(self) -> None:
        """Accept nobody any more; what was accepted goes on."""
        self.is_open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for listener in self._listeners:
            self._loop.remove_reader(listener)

    def _set_open(self, readiness: Readiness) -> None:
        is_wanted = readiness.is_ready and not readiness.is_draining
        if is_wanted and not self.is_open:
            self.is_open = True
            for listener in self._listeners:
                self._listen(listener)
        elif not is_wanted:
            self.close()

    def _listen(self, listener: socket.socket) -> None:
        self._timers.pop(listener, None)
        self._loop.add_reader(listener, self._somebody_came, listener)

    def _somebody_came(self, listener: socket.socket) -> None:
        self._transports = {each for each in self._transports if not each.is_closing()}
        count = len(self._transports) + len(self._beginning)
        if not count:
            self._accept(listener)
            return
        self._pause(listener, turn_after_s(count, random.random()), self._take_turn)

    def _pause(self, listener: socket.socket, delay_s: float, then: Callable[[socket.socket], None]) -> None:
        self._loop.remove_reader(listener)
        self._timers[listener] = self._loop.call_later(delay_s, then, listener)

    def _take_turn(self, listener: socket.socket) -> None:
        self._listen(listener)
        for _ in range(max(1, _waiting(listener) // 2)):
            if not self._accept(listener):
                return

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection; False when there is none, or no means to take one."""
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            # There are no descriptors left: the others may have some, and we perhaps later.
            self._pause(listener, _REST_S, self._listen)
            return False
        connection.setblocking(False)
        self._accepted_at = self._loop.time()
        task = self._loop.create_task(self._begin(connection), name="accepted connection")
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:
            # It has gone again before it could be registered.
            connection.close()
        else:
            self._transports.add(transport)


def open_shared(server: uvicorn.Server, listeners: Listeners, readiness: Readiness) -> SharedPort | None:
    """Serve the sockets that are shared, if there are any, as a `server` that has started serves its own."""
    if not listeners.private:
        return None

    def make_protocol() -> asyncio.Protocol:
        return BoundedHead(server.config, server.server_state, server.lifespan.state)

    shared = SharedPort(listeners.sockets, make_protocol)
    shared.follow(readiness)
    return shared


def _waiting(listener: socket.socket) -> int:
    """How many connections are in the queue now."""
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACCEPT_QUEUE.size)
    return int(_ACCEPT_QUEUE.unpack(told)[0])
