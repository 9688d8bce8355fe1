"""A refusal takes the shortest way, and still its place in the order of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from websockets.asyncio.client import connect

from servers.session import Session
from servers.settings import ServerSettings
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service
from tests.servers.test_session import exchange


async def test_a_request_without_room_is_refused_before_anything_is_set_up(serve: Serve) -> None:
    """Its command, which would crash, is never run; the refusal says when to come back."""
    running = await serve()
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, {"type": "full", "id": 3})
    assert (reply["code"], reply["retry_after"], reply["id"]) == ("overloaded", 0.5, 3)


async def test_a_refusal_does_not_overtake_an_answer(serve: Serve) -> None:
    """Refusals that nothing goes before leave at once, others in their place."""
    running = await serve()
    async with connect(running.ws) as socket:
        replies = await exchange(
            socket,
            {"type": "full", "id": 0},
            {"type": "hold", "id": 1},
            {"type": "full", "id": 2},
            {"type": "release", "id": 3},
            {"type": "full", "id": 4},
        )
        (last,) = await exchange(socket, {"type": "full", "id": 5})
    assert [reply["id"] for reply in (*replies, last)] == [0, 1, 2, 3, 4, 5]
    assert [reply["status"] for reply in replies] == ["error", "success", "error", "success", "error"]


async def test_nothing_is_sent_after_the_close_of_a_drain() -> None:
    """A refusal for what arrives with the close does not follow it, which the protocol forbids."""
    sent: list[str] = []
    closed = asyncio.Event()
    arriving = [{"type": "websocket.receive", "text": "not JSON"}]

    async def receive() -> MutableMapping[str, Any]:
        await closed.wait()
        return arriving.pop() if arriving else await asyncio.Future()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            closed.set()

    session = Session(build_service(), ServerSettings(), 1, False, receive, send)
    session.drain()
    await session.run()
    assert (sent, arriving) == (["websocket.close"], [])
