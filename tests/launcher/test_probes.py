"""launcher.probes, exec_probe and probing: answers of real listeners, and which of them are believed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from launcher.children.exec_probe import ExecProbe
from launcher.children.parent import Parent
from launcher.children.probing import LagMeter, NotifyFacts, NotifyProbe, Prober, ProbeResult
from launcher.probes import Answer, Endpoint, Failing, HttpProbe, Loading, TcpProbe, WebSocketProbe, Well
from launcher.spawning import SpawnRequest
from tests.launcher.guarded import guarded

STATS = {"type": "stats"}


@asynccontextmanager
async def websocket_server(
    answer: Callable[[dict[str, Any]], Awaitable[Any] | Any],
) -> AsyncIterator[tuple[Endpoint, list[int]]]:
    """A WebSocket server that answers each request, and the connections it has seen."""
    seen: list[int] = []

    async def talk(connection: ServerConnection) -> None:
        seen.append(id(connection))
        with suppress(ConnectionClosed):
            async for frame in connection:
                reply = answer(json.loads(frame))
                await connection.send(reply if isinstance(reply, str) else json.dumps(reply))

    async with serve(talk, "127.0.0.1", 0) as server:
        yield Endpoint("127.0.0.1", next(iter(server.sockets)).getsockname()[1], {}), seen


@asynccontextmanager
async def http_server(response: bytes) -> AsyncIterator[Endpoint]:
    """A server that sends these bytes to whoever asks and hangs up."""

    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with suppress(ConnectionError):
            await reader.readline()
            writer.write(response)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], {})
    await asyncio.gather(*(talk for talk in talks if talk is not None))


async def test_websocket_success_keeps_its_connection_and_stats() -> None:
    """Two checks use one connection and hand on what the server says of itself."""
    async with websocket_server(lambda _: {"status": "success", "stats": {"pid": 1}}) as (endpoint, seen):
        probe = WebSocketProbe(endpoint, STATS)
        assert await probe.check() == Well({"pid": 1})
        assert await probe.check() == Well({"pid": 1})
        assert len(seen) == 1
        await probe.close()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ({"status": "success", "stats": {"phase": "ready"}}, Well({"phase": "ready"})),
        (
            {"status": "success", "stats": {"phase": "load-model", "progress": 0.5}},
            Loading("load-model", 0.5),
        ),
        (
            {"status": "success", "stats": {"phase": "failed"}},
            Failing("says that it has failed and answers nothing until a restart"),
        ),
        ({"status": "error", "code": "model_loading", "phase": "warmup"}, Loading("warmup")),
        ({"status": "error", "code": "overloaded", "error": "full"}, Well()),
        ({"status": "error", "code": "store_opening", "progress": 1}, Loading(None, 1.0)),
        ({"status": "error", "error": "boom"}, Failing("answers 'stats' with an error: boom")),
        ({"status": "error"}, Failing("answers 'stats' with an error: no text")),
        ([1], Failing("answers 'stats' with something that is not an object")),
        ("{", Failing("answers 'stats' with something that is not JSON")),
    ],
)
async def test_websocket_replies_are_judged(reply: object, answer: Answer) -> None:
    """Each kind of reply has its answer."""
    async with websocket_server(lambda _: reply) as (endpoint, _):
        probe = WebSocketProbe(endpoint, STATS)
        assert await probe.check() == answer
        await probe.close()


async def test_nobody_listens() -> None:
    """A refused connection is a failing answer of every probe that connects, not an exception."""
    async with http_server(b"") as endpoint:
        pass
    for probe in (WebSocketProbe(endpoint, STATS), HttpProbe(endpoint, "/"), TcpProbe(endpoint)):
        answer = await probe.check()
        assert isinstance(answer, Failing)
        assert str(endpoint.port) in answer.text


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", Well()),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Failing("answers GET /x with 404")),
        (b'HTTP/1.1 503 X\r\n\r\n{"phase": "warmup", "progress": 0.5}', Loading("warmup", 0.5)),
        (b"HTTP/1.1 503 X\r\n\r\nbusy", Failing("answers GET /x with 503")),
    ],
)
async def test_http_statuses_are_judged(response: bytes, answer: Answer) -> None:
    """2xx is well, a 503 that names a phase is loading, all else is failing."""
    async with http_server(response) as endpoint:
        assert await HttpProbe(endpoint, "/x").check() == answer


@pytest.mark.parametrize("response", [b"", b"hello\n", b"x" * 100_000, b"HTTP/1.1 abc\r\n"])
async def test_http_nonsense_is_failing(response: bytes) -> None:
    """Whatever is no HTTP is a failing answer."""
    async with http_server(response) as endpoint:
        assert isinstance(await HttpProbe(endpoint, "/x").check(), Failing)


async def test_tcp_accepts() -> None:
    """An accepted connection is well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], {})
        assert await TcpProbe(endpoint).check() == Well()


@pytest.fixture
async def parent() -> AsyncIterator[Parent]:
    """The parent role, given back after the test."""
    async with guarded() as parent:
        yield parent


def program(code: str) -> SpawnRequest:
    """A Python program."""
    return SpawnRequest((sys.executable, "-c", code), {"PATH": os.environ["PATH"]}, Path("/"))


async def test_exec_judges_the_exit_code(parent: Parent) -> None:
    """Exit 0 is well; another code is failing, with the program's last words."""
    assert await ExecProbe(parent, program("pass")).check() == Well()
    answer = await ExecProbe(parent, program("import sys; sys.exit('no disk')")).check()
    assert isinstance(answer, Failing)
    assert "exit code 1" in answer.text
    assert answer.text.endswith(": no disk")


async def test_exec_is_killed_at_its_time_limit(parent: Parent) -> None:
    """A probe program that hangs is gone before the check returns."""
    probe = ExecProbe(parent, program("import signal; signal.pause()"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await probe.check()
    assert not parent.has_children


async def test_notify_is_ready_then_watched() -> None:
    """READY=1 is well; once WATCHDOG=1 was seen, silence is failing."""
    facts = NotifyFacts(phase="warmup", progress=0.5)
    probe = NotifyProbe(facts, watchdog_s=1.0)
    assert await probe.check() == Loading("warmup", 0.5)
    facts.is_ready = True
    assert await probe.check() == Well()
    now = asyncio.get_running_loop().time()
    facts.watchdog_at = now - 0.5
    assert await probe.check() == Well()
    facts.watchdog_at = now - 2.0
    assert isinstance(await probe.check(), Failing)


class ScriptedProbe:
    """Gives the answers that it was told, then hangs."""

    def __init__(self, *answers: Answer | float) -> None:
        self.answers = list(answers)
        self.is_closed = False

    async def check(self) -> Answer:
        """The next answer; a number holds the whole loop up for that long first, and then hangs."""
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, float):
            end = asyncio.get_running_loop().time() + answer
            while asyncio.get_running_loop().time() < end:
                pass
            await asyncio.Event().wait()
            raise AssertionError
        return answer

    async def close(self) -> None:
        """Remember it."""
        self.is_closed = True


async def run_prober(probe: ScriptedProbe, count: int, timeout_s: float = 0.2) -> tuple[Prober, list[Answer]]:
    """The first `count` answers that a prober reports."""
    results: asyncio.Queue[ProbeResult] = asyncio.Queue()
    prober = Prober(probe, 0.01, timeout_s, results.put_nowait)
    task = asyncio.create_task(prober.run())
    answers = [(await results.get()).answer for _ in range(count)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return prober, answers


async def test_prober_reports_and_times_out() -> None:
    """Answers are handed on as they come; silence becomes a failing answer; cancelling closes the probe."""
    probe = ScriptedProbe(Loading("a"), Well())
    _, answers = await run_prober(probe, 3, timeout_s=0.05)
    assert answers == [Loading("a"), Well(), Failing("did not answer within 0.05 s")]
    assert probe.is_closed


async def test_prober_takes_loading_after_well_for_failing() -> None:
    """A server that was ready and is loading again has lost what made it ready."""
    _, answers = await run_prober(ScriptedProbe(Well(), Loading("load-model")), 2)
    assert isinstance(answers[1], Failing)


async def test_prober_does_not_believe_a_failure_during_its_own_lag() -> None:
    """When this loop was held up, a missing answer proves nothing and is not reported."""
    prober, answers = await run_prober(ScriptedProbe(0.15, Well()), 1)
    assert answers == [Well()]
    assert prober.ignored == 1


async def test_lag_meter_sees_a_held_up_loop() -> None:
    """A hold-up shows as the worst lag; an idle loop shows next to none."""
    loop = asyncio.get_running_loop()
    with LagMeter(0.01) as lag:
        end = loop.time() + 0.1
        while loop.time() < end:
            pass
    assert 0.08 < lag.worst_s < 1.0
