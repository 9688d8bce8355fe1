"""Answering clients in the place of a child that cannot: on its own listening sockets, while they are ours
alone.

Decides how many are answered at once, how much is read of each and for how long: nothing that a client does
makes this process grow or wait. What is said is `stand_in_reply`'s; when the child can accept is for whoever
calls `serve`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from launcher.children.stand_in_reply import Situation, build_reply, judge

__all__ = ["StandIn"]

_MOST_AT_ONCE = 64
_AT_A_TIME = 16
_LIMIT_S = 2.0
_DISCARDED_BYTES = 1024 * 1024
_READ_BYTES = 4096
_PAUSE_S = 0.5
_OF_ONE_CLIENT = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH}
)


class StandIn:
    """Answers for one child; lives on the loop's thread."""

    def __init__(self, describe: Callable[[], Situation]) -> None:
        """Answer with what `describe` says at that moment; nobody is answered before `serve`."""
        self._describe = describe
        self._listeners: tuple[socket.socket, ...] = ()
        self._visitors: set[_Visitor] = set()
        self._is_listening = False
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Accept on these from now on, and on none else; whoever was accepted before is still answered.

        With none, nothing is accepted any more once this returns. Idempotent.
        """
        if tuple(listeners) != self._listeners:
            self._stop_listening()
            self._listeners = tuple(listeners)
            self._listen()

    def close(self) -> None:
        """Accept nobody any more, and let those who are here go at once, answered where they have asked."""
        self.serve(())
        for visitor in list(self._visitors):
            visitor.hurry()

    def _listen(self) -> None:
        self._is_listening = bool(self._listeners)
        for listener in self._listeners:
            # The child may have made it blocking, and a client that has left again must not hold us up.
            listener.setblocking(False)
            self._loop.add_reader(listener, self._accept, listener)

    def _stop_listening(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._is_listening:
            for listener in self._listeners:
                self._loop.remove_reader(listener)
        self._is_listening = False

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_A_TIME):
            if len(self._visitors) >= _MOST_AT_ONCE:
                # The others wait in the backlog, as they would without us.
                self._stop_listening()
                return
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _OF_ONE_CLIENT:
                    self._rest()
                    return
                continue
            self._visitors.add(_Visitor(connection, self._answer, self._gone))

    def _rest(self) -> None:
        """There are no descriptors left, or no memory: others need what there will be."""
        self._stop_listening()
        self._pause = self._loop.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._listen()

    def _answer(self, request: bytes) -> bytes:
        return build_reply(request, self._describe())

    def _gone(self, visitor: _Visitor) -> None:
        self._visitors.discard(visitor)
        if not self._is_listening and self._pause is None:
            self._listen()


class _Visitor:
    """One accepted connection, from its first byte to its end."""

    def __init__(
        self,
        connection: socket.socket,
        answer: Callable[[bytes], bytes],
        gone: Callable[[_Visitor], None],
    ) -> None:
        """Own `connection`; `gone` is called once, when it is closed."""
        self._connection = connection
        self._answer = answer
        self._gone = gone
        self._received = bytearray()
        self._discarded = 0
        self._is_answered = False
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(connection, self._read)
        self._timer = loop.call_later(_LIMIT_S, self.hurry)

    def hurry(self) -> None:
        """Answer if anything was asked, and leave."""
        if not self._is_answered and self._received:
            self._reply()
        self._leave()

    def _read(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._leave()
        elif self._is_answered:
            self._discard(len(data))
        else:
            self._received += data
            self._consider()

    def _consider(self) -> None:
        match judge(bytes(self._received)):
            case "request":
                self._reply()
            case "stranger":
                self._leave()
            case "more":
                pass

    def _reply(self) -> None:
        self._is_answered = True
        # It may have left; a reply is small enough for the buffer of a connection that is new.
        with suppress(OSError):
            self._connection.send(self._answer(bytes(self._received)))
            self._connection.shutdown(socket.SHUT_WR)
        self._received.clear()

    def _discard(self, count: int) -> None:
        """The rest of a request: to close before it was read would take the answer away from the client."""
        self._discarded += count
        if self._discarded > _DISCARDED_BYTES:
            self._leave()

    def _leave(self) -> None:
        self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        self._gone(self)
