"""What a server remembers of its requests."""

from __future__ import annotations

import json

import httpx
from websockets.asyncio.client import connect

from servers.activity import MOST_REMEMBERED, Activity
from servers.open_requests import Slot
from servers.protocol import Envelope
from tests.servers.conftest import Serve


def test_only_the_newest_answers_are_kept() -> None:
    """Newest first, two hundred of them, in milliseconds."""
    activity = Activity()
    for number in range(MOST_REMEMBERED + 5):
        activity.answered(1000.0 + number, "store", "ok", 0.0015)
    recent = activity.document(0.0)["recent"]
    assert len(recent) == MOST_REMEMBERED
    assert recent[0] == {"at": (1000 + MOST_REMEMBERED + 4) * 1000, "op": "store", "code": "ok", "ms": 1.5}


def test_what_waits_is_listed_until_it_has_ended() -> None:
    """The newest first, with its age; twice ended is ended; what is left out is left out."""
    activity = Activity()
    old, new, seen = (
        Slot(Envelope(name, {}, {}), at, 7) for name, at in (("a", 1.0), ("b", 2.0), ("stats", 2.5))
    )
    for slot in (old, new, seen):
        activity.begun(slot)
    waiting = activity.document(3.0, without={"stats"})["in_flight"]
    assert waiting == [
        {"op": "b", "age_ms": 1000.0, "size_bytes": 7},
        {"op": "a", "age_ms": 2000.0, "size_bytes": 7},
    ]
    activity.ended(old)
    activity.ended(old)
    assert [each["op"] for each in activity.document(3.0)["in_flight"]] == ["stats", "b"]


async def test_the_page_is_told_of_answers_failures_and_what_is_in_flight(serve: Serve) -> None:
    """By command and code and without bodies; a watcher's own `stats` is not worth a line, its failure is."""
    running = await serve()
    async with (
        connect(running.ws, proxy=None) as socket,
        connect(running.ws, proxy=None) as holding,
        httpx.AsyncClient(base_url=running.http) as client,
    ):
        await holding.send(json.dumps({"type": "hold"}))
        for request in ({"type": "stats"}, {"type": "echo", "text": "a secret"}, {"type": "nope"}):
            await socket.send(json.dumps(request))
            await socket.recv()
        response = await client.get("/console/activity")
        await socket.send(json.dumps({"type": "release"}))
        await holding.recv()
    told = response.json()
    assert [(each["op"], each["code"]) for each in told["recent"]] == [
        ("unknown", "unknown_command"),
        ("echo", "ok"),
    ]
    assert [each["op"] for each in told["in_flight"]] == ["hold"]
    assert "secret" not in response.text


async def test_activity_and_lines_need_the_token(serve: Serve) -> None:
    """They say what others do, so they are as closed as the commands."""
    running = await serve(token="s3cret-token-of-a-test")
    async with httpx.AsyncClient(base_url=running.http) as client:
        for path in ("/console/activity", "/console/lines"):
            assert (await client.get(path)).status_code == 401
            bearer = {"authorization": "Bearer s3cret-token-of-a-test"}
            assert (await client.get(path, headers=bearer)).status_code == 200
            foreign = {**bearer, "origin": "https://foreign.example"}
            assert (await client.get(path, headers=foreign)).status_code == 403
