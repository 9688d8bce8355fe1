"""Fixtures of the inference tests: a running server with the debug engine, and a client of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from servers.inference.assembly import build_service
from servers.inference.settings import InferenceSettings
from tests.servers.inference.clients import Client


@pytest.fixture
def settings() -> InferenceSettings:
    """The debug engine, so that nothing is loaded, and one alias."""
    return InferenceSettings(backend="debug", aliases=("text-embedding-3-small",))


@pytest.fixture
async def running(serve: Callable[..., Awaitable[Any]], settings: InferenceSettings) -> Any:
    """The server on an ephemeral port, ready."""
    service = build_service(settings, {"memory": "ws://localhost:5000"})
    started = await serve(service)
    async with connect(started.ws) as socket:
        await _until_ready(Client(socket))
    return started


@pytest.fixture
async def client(running: Any) -> AsyncIterator[Client]:
    """A client of the running server."""
    async with connect(running.ws, max_size=None) as socket:
        yield Client(socket)


async def _until_ready(client: Client) -> None:
    while (await client.ask("stats"))["stats"]["phase"] != "ready":
        pass
