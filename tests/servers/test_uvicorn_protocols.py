"""Hostile peers at the level of bytes: each measured row, so that an upgrade that changes one fails."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from servers import serve as serving
from servers.stuck_writer import SEND_TIMEOUT_S, StuckWriter
from servers.uvicorn_protocols import HEAD_TIMEOUT_S, Aborting, ConnectionLedger, HeadLimit
from tests.servers.conftest import Running, Serve

UPGRADE = (
    "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def everything_after(running: Running, sent: bytes, more: bytes = b"") -> bytes:
    """What the server answers to raw bytes, and then to more, until it closes; fails when it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    received = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(5):
            if more:
                received += await reader.readuntil(b"\r\n\r\n")
                writer.write(more)
                await writer.drain()
            while chunk := await reader.read(65_536):
                received += chunk
    except ConnectionResetError:
        pass  # an abort is also a close
    finally:
        writer.close()
    return received


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_silence_and_half_a_head_are_cut(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A head must arrive whole within its time."""
    monkeypatch.setattr(HeadLimit, "timeout_s", 0.05)
    assert await everything_after(await serve(), sent) == b""


@pytest.mark.parametrize("upgrade", ["", UPGRADE])
@pytest.mark.parametrize(
    "fields",
    [
        "X-Long: " + "x" * 9_000 + "\r\n",
        "".join(f"X-{i}: 1\r\n" for i in range(300)),
        "X-Endless: " + "x" * 200_000,
    ],
)
async def test_too_large_heads_are_answered_431(serve: Serve, upgrade: str, fields: str) -> None:
    """The client gets an answer and a close, where upstream hangs or takes all memory."""
    head = f"GET / HTTP/1.1\r\n{upgrade or 'Host: localhost' + chr(13) + chr(10)}{fields}\r\n"
    assert (await everything_after(await serve(), head.encode())).startswith(b"HTTP/1.1 431 ")


async def test_a_too_long_target_is_answered_431(serve: Serve) -> None:
    """The request line counts as head."""
    head = f"GET /{'x' * 9_000} HTTP/1.1\r\n{UPGRADE}\r\n"
    assert (await everything_after(await serve(), head.encode())).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "head",
    [
        f"POST / HTTP/1.1\r\n{UPGRADE}\r\n",
        f"GET / HTTP/1.1\r\n{UPGRADE}Content-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        f"GET / HTTP/1.1\r\n{UPGRADE}".replace("13", "12") + "\r\n",
        "\x16\x03\x01 not http\r\n\r\n",
    ],
)
async def test_unusable_handshakes_are_answered_not_left_hanging(serve: Serve, head: str) -> None:
    """Whatever is wrong with it, the client learns a 4xx status."""
    assert (await everything_after(await serve(), head.encode())).startswith(b"HTTP/1.1 4")


async def test_refused_and_abandoned_handshakes_are_nobodys_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that may not come in, and a client that leaves while it waits, put no error into the log."""
    running = await serve()
    head = f"GET / HTTP/1.1\r\n{UPGRADE}"
    refused = await everything_after(running, f"{head}Origin: https://foreign.example\r\n\r\n".encode())
    assert refused.startswith(b"HTTP/1.1 403 ")
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(f"{head}\r\n".encode())
    writer.transport.abort()
    async with connect(f"ws://127.0.0.1:{running.port}/", proxy=None) as connection:
        await connection.send('{"type": "stats"}')
        await connection.recv()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_an_answer_to_nobody_ends_the_application() -> None:
    """A client that left before the handshake was answered is told to the application as gone."""
    state = ConnectionLedger()
    protocol = Aborting(uvicorn.Config(app=_accepts, ws="none", http="h11"), state, {})
    transport = LeavingTransport()
    protocol.connection_made(transport)
    protocol.data_received(f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    (task,) = protocol.tasks
    await task
    assert transport.written == b""


async def _accepts(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
    """An application that would go on after its answer."""
    await send({"type": "websocket.accept"})
    raise AssertionError("nobody is there")


class LeavingTransport(asyncio.Transport):
    """A transport that is closing already."""

    written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Remember what would be sent."""
        self.written += data

    def is_closing(self) -> bool:
        """The peer has left."""
        return True

    def close(self) -> None:
        """It is closing already."""


async def test_a_large_body_is_not_a_large_head(serve: Serve) -> None:
    """A hundred kilobytes of body in the same packet pass the head's limit."""
    running = await serve()
    body = b"x" * 100_000
    head = (
        f"POST /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert (await everything_after(running, head.encode() + body)).startswith(b"HTTP/1.1 404 ")


async def test_a_second_request_has_its_own_head_limit(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alive does not let a later head dawdle."""
    monkeypatch.setattr(HeadLimit, "timeout_s", 0.1)
    sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"
    assert (await everything_after(await serve(), sent)).startswith(b"HTTP/1.1 200 ")


async def test_a_peer_that_does_not_read_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replies fill the buffers, and then it is aborted instead of being waited for."""
    monkeypatch.setattr(StuckWriter, "timeout_s", 0.1)
    running = await serve()
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", running.port))
    client = await connect(running.ws, sock=raw, max_queue=1, ping_interval=None)
    client.transport.pause_reading()
    text = json.dumps({"type": "echo", "text": "x" * 900_000})
    with pytest.raises(ConnectionClosed):
        await send_forever(client, text)


async def send_forever(client: ClientConnection, text: str) -> None:
    """Sends until the connection breaks."""
    while True:
        async with asyncio.timeout(10):
            await client.send(text)


async def test_a_silent_peer_is_cut_after_the_pong_timeout(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pong: close 1011, and the abort does not wait for a reader."""
    monkeypatch.setattr(serving, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(serving, "PING_TIMEOUT_S", 0.05)
    monkeypatch.setattr(Aborting, "abort_after_close_s", 0.05)
    answer = await everything_after(await serve(), f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert (1011).to_bytes(2, "big") in answer


async def test_a_busy_handler_does_not_stop_the_pongs(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy client that pipelines behind a long request outlives many ping periods."""
    monkeypatch.setattr(serving, "PING_INTERVAL_S", 0.02)
    monkeypatch.setattr(serving, "PING_TIMEOUT_S", 0.5)
    running = await serve()
    async with connect(running.ws, ping_interval=None) as client:
        await client.send('{"type":"hold","timeout_ms":1500}')
        await client.send('{"type":"echo","text":"a"}')
        replies = [json.loads(await client.recv()) for _ in range(2)]
    assert [reply["status"] for reply in replies] == ["error", "success"]


async def test_fragments_and_broken_frames(serve: Serve) -> None:
    """A message in a thousand fragments is one request; an unmasked frame is a protocol error."""
    running = await serve()
    async with connect(running.ws) as client:
        text = json.dumps({"type": "echo", "text": "x" * 900})
        await client.send(iter(text))
        assert json.loads(await client.recv())["status"] == "success"
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\x02{}")
    assert (1002).to_bytes(2, "big") in await reader.read()
    writer.close()


async def test_who_still_sends_a_message_that_is_too_big_learns_why_it_ends(serve: Serve) -> None:
    """The rest is read and dropped, since a reset would overtake the close."""
    size = 64 << 20
    frame = b"\x81\xff" + size.to_bytes(8, "big") + bytes(4 + size)
    received = await everything_after(await serve(), f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode(), frame)
    assert (1009).to_bytes(2, "big") + b"frame with" in received


async def test_who_breaks_the_protocol_and_never_ends_is_cut(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent after that is dropped for a while only."""
    monkeypatch.setattr(Aborting, "drop_for_s", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", (await serve()).port)
    writer.write(f"GET / HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(write_forever(writer), 5)
    writer.close()


async def write_forever(writer: asyncio.StreamWriter) -> None:
    """Sends what is no frame for as long as somebody takes it."""
    while True:
        writer.write(b"\xff" * 65_536)
        await writer.drain()


async def test_compression_is_not_negotiated(serve: Serve) -> None:
    """Deflate costs memory per connection and opens the door to bombs."""
    async with connect((await serve()).ws, compression="deflate") as client:
        assert client.protocol.extensions == []


async def test_the_ledger_tells_when_the_last_connection_went() -> None:
    """It starts empty, is filled, and is emptied again."""
    ledger = ConnectionLedger()
    assert ledger.emptied.is_set()
    ledger.connections.add(object())  # type: ignore[arg-type]  # only counted
    ledger.update()
    assert not ledger.emptied.is_set()
    ledger.connections.clear()
    ledger.update()
    assert ledger.emptied.is_set()


class SlowTransport:
    """A transport whose buffer shrinks by `step` at every look."""

    def __init__(self, step: int) -> None:
        self.size, self.step, self.is_aborted = 1_000_000, step, asyncio.Event()

    def get_write_buffer_size(self) -> int:
        """The buffer, one step smaller than before."""
        self.size = max(0, self.size - self.step)
        return self.size

    def abort(self) -> None:
        """Notes the abort."""
        self.is_aborted.set()


async def test_a_slow_reader_is_no_stuck_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress keeps it alive; only when nothing moves any more is it cut."""
    monkeypatch.setattr(StuckWriter, "timeout_s", 0.001)
    transport = SlowTransport(step=100_000)
    StuckWriter(asyncio.get_running_loop(), transport).arm()
    async with asyncio.timeout(5):
        await transport.is_aborted.wait()
    assert transport.size == 0


def test_the_limits_are_the_contracts() -> None:
    """Five seconds for a head, ten for a send, twenty for a ping."""
    assert (HEAD_TIMEOUT_S, SEND_TIMEOUT_S) == (5.0, 10.0)
    assert (serving.PING_INTERVAL_S, serving.PING_TIMEOUT_S) == (20.0, 20.0)
