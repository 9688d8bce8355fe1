"""launcher.control: envelopes, subscribers and plain HTTP on a real socket; the commands are played."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect

from launcher.control import ControlServer
from launcher.errors import NoSuchService
from launcher.running.control_commands import Commands
from launcher.running.publisher import Publisher
from launcher.snapshot import EventDocument, StatusDocument


class Played:
    """Commands that answer what they were asked, and one that fails."""

    async def answer(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Echo, or refuse."""
        if kind == "fail":
            raise NoSuchService("x", ["a"])
        return {"asked": kind, "data": dict(data)}


class Scene:
    """A control server in a folder, and what it tells of."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.publisher = Publisher()
        self.listeners = 0
        self.server = ControlServer(
            self.path,
            cast(Commands, Played()),
            self.publisher,
            lambda: cast(StatusDocument, {"revision": self.publisher.revision}),
            lambda: "metric 1\n",
            self.listen,
        )

    def listen(self) -> None:
        """Somebody has subscribed."""
        self.listeners += 1

    def happen(self) -> None:
        """Record one change and tell of it."""
        event = cast(EventDocument, {"revision": self.publisher.next_revision()})
        self.publisher.record(event)
        self.publisher.changed()

    def connect(self) -> unix_connect:
        """A client."""
        return unix_connect(str(self.path), compression=None, ping_interval=None, close_timeout=0.5)

    async def get(self, target: str) -> tuple[str, str]:
        """The status line and the body of a plain request."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return head.splitlines()[0], body


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A server that listens."""
    scene = Scene(tmp_path)
    await scene.server.open()
    yield scene
    await scene.server.close()


async def ask(client: ClientConnection, frame: object) -> dict[str, Any]:
    """One frame and the one reply; text and bytes are sent as they are."""
    await client.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    reply: dict[str, Any] = json.loads(await client.recv())
    return reply


async def test_a_reply_carries_what_names_its_request(scene: Scene) -> None:
    """Type and every identifier are echoed, with the payload beside them."""
    async with scene.connect() as client:
        names = {"id": 1, "request_id": "r", "message_id": None, "client_id": [2]}
        reply = await ask(client, {"type": "x", "data": {"a": 1}, "other": 5, **names})
        assert reply == {"status": "success", "type": "x", **names, "asked": "x", "data": {"a": 1}}


async def test_a_failure_is_an_answer(scene: Scene) -> None:
    """With its code and its text, and the connection goes on."""
    async with scene.connect() as client:
        reply = await ask(client, {"type": "fail", "id": 7})
        assert (reply["status"], reply["id"], reply["type"]) == ("error", 7, "fail")
        assert reply["error"] == reply["message"]
        assert "x" in reply["error"]
        assert (await ask(client, {"type": "x"}))["status"] == "success"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ([1], "invalid_request"),
        ({"data": {}}, "invalid_request"),
        ({"type": 5}, "invalid_request"),
        ({"type": "x", "data": [1]}, "invalid_request"),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_bad_input_is_answered_and_survived(scene: Scene, frame: object, code: str) -> None:
    """By the code of what is wrong with it."""
    async with scene.connect() as client:
        assert (await ask(client, frame))["code"] == code
        assert (await ask(client, {"type": "x"}))["status"] == "success"


async def test_a_subscriber_gets_the_latest_snapshot_after_each_change(scene: Scene) -> None:
    """And the events only when it asks for them; asking twice on one connection makes no second feed."""
    async with scene.connect() as plain, scene.connect() as curious:
        assert (await ask(plain, {"type": "subscribe"}))["status"] == "success"
        await ask(curious, {"type": "subscribe", "data": {"events": True}})
        await plain.recv()
        await curious.recv()
        scene.happen()
        assert json.loads(await curious.recv())["event"]["revision"] == 1
        assert json.loads(await curious.recv())["snapshot"]["revision"] == 1
        assert json.loads(await plain.recv())["snapshot"]["revision"] == 1
        await plain.send(json.dumps({"type": "subscribe"}))
        while "status" not in json.loads(await plain.recv()):
            pass
        assert scene.listeners == 2


async def test_a_subscriber_that_leaves_is_forgotten(scene: Scene) -> None:
    """Nothing is kept for it."""
    async with scene.connect() as client:
        await ask(client, {"type": "subscribe"})
        await client.recv()
        assert scene.publisher.has_subscribers
        (feed,) = scene.server._feeds
    await asyncio.wait([feed])
    assert not scene.publisher.has_subscribers


async def test_the_last_words_reach_who_listens(tmp_path: Path) -> None:
    """The last events and the last snapshot, then the end of the connection, and of the socket."""
    scene = Scene(tmp_path)
    await scene.server.open()
    async with scene.connect() as client:
        await ask(client, {"type": "subscribe", "data": {"events": True}})
        await client.recv()
        scene.happen()
        closing = asyncio.create_task(scene.server.close())
        frames = [json.loads(frame) async for frame in client]
        await closing
    assert client.close_code == 1001
    assert frames[0]["event"]["revision"] == 1
    assert frames[-1]["snapshot"]["revision"] == 1
    assert not scene.path.exists()


async def test_another_supervisor_goes_on_with_the_same_socket(tmp_path: Path) -> None:
    """A client that connects in between waits in its queue and is answered by the next."""
    first = Scene(tmp_path)
    held = os.dup(await first.server.open())
    await first.server.close(for_good=False)
    assert first.path.exists()
    waiting = asyncio.create_task(first.get("/status"))
    second = Scene(tmp_path)
    await second.server.open(socket.socket(fileno=held))
    assert (await waiting)[0] == "HTTP/1.1 200 OK"
    await second.server.close()


async def test_plain_http(scene: Scene) -> None:
    """Status and metrics for who has no library; everything else says what there is."""
    assert await scene.get("/status") == ("HTTP/1.1 200 OK", '{"revision": 0}\n')
    assert await scene.get("/metrics") == ("HTTP/1.1 200 OK", "metric 1\n")
    line, body = await scene.get("/nope")
    assert (line, "GET /status" in body) == ("HTTP/1.1 404 Not Found", True)


async def test_what_a_dead_supervisor_left_is_replaced(scene: Scene, tmp_path: Path) -> None:
    """The socket is private to this user, whatever the mask."""
    assert stat.S_IMODE(scene.path.stat().st_mode) == 0o600
    other = Scene(tmp_path)
    await other.server.open()
    assert (await other.get("/status"))[0] == "HTTP/1.1 200 OK"
    await other.server.close()
