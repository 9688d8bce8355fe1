"""One connection: a reply per request, in order, whatever the requests do."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from servers.open_requests import MOST_WAITING
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service


async def exchange(socket: ClientConnection, *frames: str | bytes | dict[str, Any]) -> list[dict[str, Any]]:
    """Sends all frames at once, then reads one reply for each."""
    for frame in frames:
        await socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)
    return [json.loads(await socket.recv()) for _ in frames]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{not json", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ('{"type":"stats","x":NaN}', "invalid_json"),
        ("[" * 65 + "]" * 65, "invalid_json"),
        ("[]", "invalid_request"),
        ('"text"', "invalid_request"),
        ("{}", "unknown_command"),
        ('{"type":"no-such"}', "unknown_command"),
        ('{"type":"echo"}', "invalid_request"),
        ('{"type":"echo","text":""}', "invalid_request"),
        ('{"type":"echo","text":5}', "invalid_request"),
        ('{"type":"echo","text":"a","count":1001}', "invalid_request"),
        ('{"type":"echo","text":"a","timeout_ms":-1}', "invalid_request"),
        ('{"type":"echo","text":"a","timeout_ms":true}', "invalid_request"),
        ('{"type":"echo","text":"a","timeout_ms":0}', "deadline_exceeded"),
        ('{"type":"hold","timeout_ms":5}', "deadline_exceeded"),
        ('{"type":"crash"}', "internal"),
        ('{"type":"nan"}', "internal"),
        ('{"type":"cancel"}', "invalid_request"),
    ],
)
async def test_a_failed_request_is_answered_and_the_connection_lives(
    serve: Serve, frame: str | bytes, code: str
) -> None:
    """Every row of the contract's table, each followed by a request that works."""
    running = await serve()
    async with connect(running.ws) as socket:
        bad, good = await exchange(socket, frame, {"type": "echo", "text": "still here"})
    assert (bad["status"], bad["code"]) == ("error", code)
    assert bad["error"] == bad["message"]
    assert good["text"] == "still here"


async def test_a_missing_type_lists_the_commands(serve: Serve) -> None:
    """Somebody who starts from nothing learns what there is."""
    running = await serve()
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, "{}")
    assert reply["error"].startswith("Unknown command type: None")
    assert "echo" in reply["details"]["commands"]


async def test_a_bug_is_logged_with_its_incident_and_not_shown(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an id, the log gets the id and the traceback."""
    running = await serve()
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, {"type": "crash", "id": 4})
    assert "secret" not in json.dumps(reply)
    assert reply["id"] == 4
    record = next(record for record in caplog.records if record.exc_info)
    assert reply["details"]["incident"] in record.getMessage()


async def test_a_reply_says_where_its_time_went_when_asked(serve: Serve) -> None:
    """`timing: true` adds the stages and the total; a stage that waited for another request is that long."""
    running = await serve()
    async with connect(running.ws) as socket:
        echo, held, _ = await exchange(
            socket,
            {"type": "echo", "text": "a", "timing": True},
            {"type": "hold", "id": 1, "timing": True},
            {"type": "release"},
        )
    assert list(echo["timing"]) == ["total_ms"]
    assert list(held["timing"]) == ["held_ms", "total_ms"]
    assert 0 <= held["timing"]["held_ms"] <= held["timing"]["total_ms"]
    assert held["id"] == 1


@pytest.mark.parametrize("timing", [None, False, 1, "true", {}])
async def test_nobody_else_is_told_times(serve: Serve, timing: object) -> None:
    """Older clients get the reply that they always got, whatever they call a field of theirs."""
    running = await serve()
    async with connect(running.ws) as socket:
        replies = await exchange(
            socket, {"type": "echo", "text": "a"}, {"type": "echo", "text": "a", "timing": timing}
        )
    assert replies[0] == replies[1]
    assert "timing" not in replies[0]


async def test_a_refusal_has_no_times(serve: Serve) -> None:
    """Only what was done took its time."""
    running = await serve()
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, {"type": "echo", "text": "", "timing": True})
    assert reply["code"] == "invalid_request"
    assert "timing" not in reply


async def test_binary_frames_of_json_are_requests(serve: Serve) -> None:
    """A binary frame that holds UTF-8 JSON counts as text."""
    running = await serve()
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, '{"type":"echo","text":"é"}'.encode())
    assert reply["text"] == "é"


async def test_a_text_that_is_not_utf8_is_answered_like_any_unreadable_frame(serve: Serve) -> None:
    """In one frame or in several; the connection goes on."""
    running = await serve()
    async with connect(running.ws) as socket:
        await socket.send(b'{"type":"\xff"}', text=True)
        await socket.send([b'{"type":"ech', b'o","text":"\xc3"}'], text=True)
        refused = [json.loads(await socket.recv()) for _ in range(2)]
        (reply,) = await exchange(socket, {"type": "echo", "text": "é"})
    assert [reply["code"] for reply in refused] == ["invalid_json", "invalid_json"]
    assert reply["text"] == "é"


async def test_replies_leave_in_request_order_though_work_is_concurrent(serve: Serve) -> None:
    """A later request runs while the first still waits for it, and is answered after it."""
    running = await serve()
    async with connect(running.ws) as socket:
        replies = await exchange(
            socket,
            {"type": "hold", "id": 1},
            "bad",
            {"type": "release", "id": 2},
            {"type": "echo", "text": "a"},
        )
    assert [reply["status"] for reply in replies] == ["success", "error", "success", "success"]
    assert [reply.get("id") for reply in replies] == [1, None, 2, None]


async def test_many_pipelined_requests_are_all_answered_in_order(serve: Serve) -> None:
    """More than may run at once simply wait for their turn."""
    running = await serve(max_in_flight=4)
    async with connect(running.ws) as socket:
        replies = await exchange(socket, *({"type": "echo", "text": "a", "id": i} for i in range(500)))
    assert [reply["id"] for reply in replies] == list(range(500))
    assert {reply["status"] for reply in replies} == {"success"}


async def test_only_so_many_requests_run_at_once(serve: Serve) -> None:
    """With one place in flight, the release waits behind the hold, whose deadline then frees the place."""
    running = await serve(max_in_flight=1)
    async with connect(running.ws) as socket:
        hold, release = await exchange(socket, {"type": "hold", "timeout_ms": 50}, {"type": "release"})
    assert hold["code"] == "deadline_exceeded"
    assert release["status"] == "success"


async def test_requests_beyond_the_bound_are_refused_at_once(serve: Serve) -> None:
    """What may wait is bounded; the refusal takes its place in the order."""
    running = await serve()
    async with connect(running.ws) as socket:
        frames = [{"type": "hold"}] * MOST_WAITING + [{"type": "hold"}, {"type": "hold"}]
        for frame in frames:
            await socket.send(json.dumps(frame))
        await (await socket.ping())  # its pong says that every frame before it was read
        async with connect(running.ws) as other:
            await exchange(other, {"type": "release"})
        replies = [json.loads(await socket.recv()) for _ in frames]
    codes = [reply.get("code", "ok") for reply in replies]
    assert codes == ["ok"] * MOST_WAITING + ["overloaded"] * 2
    assert replies[-1]["retry_after"] > 0


async def test_a_request_is_cancelled_by_its_id(serve: Serve) -> None:
    """The cancelled request and the cancel each get their own reply, in order."""
    running = await serve()
    async with connect(running.ws) as socket:
        held, cancel, missing = await exchange(
            socket, {"type": "hold", "id": "a"}, {"type": "cancel", "id": "a"}, {"type": "cancel", "id": "zz"}
        )
    assert (held["code"], held["id"], held["type"]) == ("cancelled", "a", "hold")
    assert (cancel["status"], cancel["cancelled"], cancel["id"]) == ("success", True, "a")
    assert missing["cancelled"] is False


async def test_cancel_reaches_only_its_own_connection_and_exact_id(serve: Serve) -> None:
    """Another client's request of the same id goes on; 1 is neither true nor 1.0."""
    running = await serve()
    async with connect(running.ws) as mine, connect(running.ws) as theirs:
        await theirs.send('{"type":"hold","id":1}')
        (wrong,) = await exchange(mine, {"type": "cancel", "id": 1})
        assert wrong["cancelled"] is False
        await theirs.send('{"type":"cancel","id":true}')
        await theirs.send('{"type":"release"}')
        held, no, _ = [json.loads(await theirs.recv()) for _ in range(3)]
    assert held["held"] is True
    assert no["cancelled"] is False


async def test_a_client_that_leaves_takes_its_work_along(serve: Serve) -> None:
    """The handler is cancelled and nothing stays in flight."""
    service = build_service()
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def watched(context: object, request: object) -> dict[str, object]:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    service.commands = tuple(
        replace(command, handle=watched) if command.name == "hold" else command
        for command in service.commands
    )
    running = await serve(service)
    socket = await connect(running.ws)
    await socket.send('{"type":"hold"}')
    await entered.wait()
    socket.transport.abort()
    async with asyncio.timeout(5):
        await cancelled.wait()
    async with connect(running.ws) as other:
        (reply,) = await exchange(other, {"type": "stats"})
    assert reply["stats"]["requests"]["in_flight"] == 1
    await socket.close()


async def test_a_hundred_leaving_clients_leave_no_log_line(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Any disconnect is normal, also in the middle of a request."""
    running = await serve()
    caplog.set_level(logging.WARNING)
    for _ in range(100):
        socket = await connect(running.ws)
        await socket.send('{"type":"hold"}')
        socket.transport.abort()
        await socket.close()
    async with connect(running.ws) as socket:
        await exchange(socket, {"type": "stats"})
    assert caplog.records == []


async def test_a_message_over_the_limit_closes_with_1009(serve: Serve) -> None:
    """The limit itself is fine; one byte more is too big for the connection."""
    running = await serve(max_message_bytes=2048)
    frame = '{"type":"echo","text":"' + "x" * (2048 - 25) + '"}'
    assert len(frame) == 2048
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, frame)
        assert reply["status"] == "success"
        await socket.send(frame + " ")
        with pytest.raises(ConnectionClosedError) as raised:
            await socket.recv()
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1009


async def test_while_loading_requests_are_told_so(serve: Serve) -> None:
    """Phase, progress and when to ask again, also at the top level of the reply."""
    service = build_service(load_forever=True)
    running = await serve(service)
    async with connect(running.ws) as socket:
        stats, release = await exchange(socket, {"type": "stats", "id": 1}, {"type": "release"})
    assert (stats["code"], stats["phase"], stats["progress"]) == ("model_loading", "load-model", 0.62)
    assert stats["retry_after"] > 0
    assert release["status"] == "success"


async def test_a_dead_worker_is_not_called_loading(serve: Serve) -> None:
    """A probe must see the failure, not a start that goes on."""
    service = build_service()
    service.is_alive = lambda: False
    running = await serve(service)
    async with connect(running.ws) as socket:
        (reply,) = await exchange(socket, {"type": "stats"})
    assert reply["code"] == "internal"
    assert service.readiness.phase == "failed"
