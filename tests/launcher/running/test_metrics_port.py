"""The port for Prometheus: real connections on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from launcher.errors import PortInUse
from launcher.running.metrics_port import MetricsPort
from launcher.sockets import bind_service, close_all


@pytest.fixture
def number() -> int:
    """A port that was free a moment ago."""
    held = bind_service("localhost", 0)
    port = int(held[0].getsockname()[1])
    close_all(held)
    return port


@pytest.fixture
async def listening(number: int) -> AsyncIterator[MetricsPort]:
    """Listening, with one metric to tell."""
    port = MetricsPort(lambda: "x 1\n")
    await port.listen_on(number, None)
    yield port
    await port.close()


async def ask(number: int, sent: bytes) -> bytes:
    """All that is answered to raw bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0\r\nhost: [::1]:9\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"421"),
        (b"\r\n\r\n", b"421"),
    ],
)
async def test_only_a_get_of_the_metrics_is_answered(
    listening: MetricsPort, number: int, sent: bytes, status: bytes
) -> None:
    """And only to whoever names this machine: no page can rebind its name to it."""
    answer = await ask(number, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"\r\n\r\nx 1\n") == (status == b"200")


async def test_endless_heads_and_silence_are_cut(
    listening: MetricsPort, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither holds a connection for ever."""
    monkeypatch.setattr("launcher.running.metrics_port._LIMIT_S", 0.05)
    assert await ask(number, b"") == b""
    with suppress(ConnectionError):
        assert await ask(number, b"GET /" + b"x" * 100_000) == b""


async def test_a_taken_port_is_refused_and_the_old_one_goes_on(listening: MetricsPort, number: int) -> None:
    """With who has it and where the file says so."""
    other = bind_service("localhost", 0)
    taken = int(other[0].getsockname()[1])
    with pytest.raises(PortInUse) as refused:
        await listening.listen_on(taken, "config.yaml:2:15")
    close_all(other)
    assert "config.yaml:2:15" in str(refused.value)
    assert (await ask(number, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(
        b"HTTP/1.1 200"
    )
    await listening.listen_on(None, None)
    with pytest.raises(ConnectionRefusedError):
        await ask(number, b"")
