"""Answering in a child's place over real sockets: everybody is served, nobody can make it grow or wait."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from launcher.children import stand_in
from launcher.children.stand_in import StandIn
from launcher.children.stand_in_reply import Situation

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def listener() -> AsyncIterator[socket.socket]:
    """A listening socket as the launcher holds one."""
    held = socket.create_server(("127.0.0.1", 0), backlog=256)
    held.setblocking(False)
    yield held
    held.close()


@pytest.fixture
async def standing(listener: socket.socket) -> AsyncIterator[StandIn]:
    """Somebody who answers on it."""
    answering = StandIn(lambda: Situation("memory", "backoff", True, 30.0))
    answering.serve([listener])
    yield answering
    answering.close()


async def call(listener: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A new connection."""
    host, port = listener.getsockname()
    return await asyncio.open_connection(host, port)


async def ask(listener: socket.socket, words: bytes = REQUEST) -> bytes:
    """Say something and return all that comes back until the other side hangs up."""
    reader, writer = await call(listener)
    writer.write(words)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_requests_are_answered_at_once(listener: socket.socket, standing: StandIn) -> None:
    """A request gets its 503 while the connection is still open for more."""
    assert b"Retry-After: 30\r\n" in await ask(listener)


async def test_a_head_in_pieces_is_answered(listener: socket.socket, standing: StandIn) -> None:
    """What arrives byte by byte is put together."""
    reader, writer = await call(listener)
    for byte in REQUEST:
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()
    await writer.wait_closed()


async def test_a_large_body_does_not_lose_the_answer(listener: socket.socket, standing: StandIn) -> None:
    """The rest of a request is read after the answer, so that the client gets to see that."""
    body = b"x" * 300_000
    head = b"POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n"
    assert (await ask(listener, head + body)).startswith(b"HTTP/1.1 503 ")


async def test_strangers_are_hung_up_on(listener: socket.socket, standing: StandIn) -> None:
    """What is no HTTP is closed without a word."""
    assert await ask(listener, b"\x16\x03\x01\x02\x00") == b""


async def test_the_silent_are_sent_away(
    listener: socket.socket, standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says nothing is hung up on after a while; who has begun to ask is answered."""
    monkeypatch.setattr(stand_in, "_LIMIT_S", 0.05)
    assert await ask(listener, b"") == b""
    assert (await ask(listener, b"GET / HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 503 ")


async def test_more_than_the_limit_wait_in_the_backlog(
    listener: socket.socket, standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at once are attended to and no more; the next is when one leaves."""
    monkeypatch.setattr(stand_in, "_MOST_AT_ONCE", 2)
    first, second = await call(listener), await call(listener)
    third = asyncio.create_task(ask(listener))
    done, _ = await asyncio.wait({third}, timeout=0.2)
    assert not done
    first[1].close()
    await first[1].wait_closed()
    assert (await third).startswith(b"HTTP/1.1 503 ")
    second[1].close()
    await second[1].wait_closed()


async def test_nothing_is_taken_after_serving_ends(listener: socket.socket, standing: StandIn) -> None:
    """Whoever connects once it has stopped is left to the child, down to the last byte."""
    standing.serve(())
    reader, writer = await call(listener)
    writer.write(REQUEST)
    taken, _ = await asyncio.get_running_loop().sock_accept(listener)
    assert await asyncio.get_running_loop().sock_recv(taken, 4096) == REQUEST
    taken.close()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_who_was_accepted_before_is_still_answered(listener: socket.socket, standing: StandIn) -> None:
    """A connection that was taken is answered, although a child accepts by now."""
    reader, writer = await call(listener)
    writer.write(b"GET / HTTP/1.1\r\n")
    await ask(listener)  # whoever comes later is answered later
    standing.serve(())
    writer.write(b"\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()
    await writer.wait_closed()


async def test_closing_answers_those_who_have_asked(listener: socket.socket, standing: StandIn) -> None:
    """When the process ends, half a request is enough for an answer."""
    reader, writer = await call(listener)
    writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    await ask(listener)  # whoever comes later is answered later
    standing.close()
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    assert not standing._visitors
    writer.close()
    await writer.wait_closed()


async def test_a_hundred_at_once_are_all_answered(listener: socket.socket, standing: StandIn) -> None:
    """More clients than may be here at once are served one after another, and nobody is lost."""
    answers = await asyncio.gather(*(ask(listener) for _ in range(100)))
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)


async def test_a_socket_that_a_child_made_blocking_does_not_block(listener: socket.socket) -> None:
    """What the generation before did to the shared socket does not hold this process up."""
    listener.setblocking(True)
    answering = StandIn(lambda: Situation("memory", "waiting", True))
    answering.serve([listener])
    assert (await ask(listener)).startswith(b"HTTP/1.1 503 ")
    assert listener.getblocking() is False
    answering.close()


class Exhausted(socket.socket):
    """A listening socket for which there are no descriptors, a given number of times."""

    failures = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """As without us, once the failures are over."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_want_of_descriptors_is_waited_out(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is accepted for a while, and then everybody is: before and after a client has left."""
    monkeypatch.setattr(stand_in, "_PAUSE_S", 0.05)
    poor = Exhausted(fileno=listener.detach())
    answering = StandIn(lambda: Situation("memory", "waiting", True))
    answering.serve([poor])
    for _ in range(3):
        poor.failures = 1
        assert (await ask(poor)).startswith(b"HTTP/1.1 503 ")
    assert poor.failures == 0
    answering.close()
    poor.close()
