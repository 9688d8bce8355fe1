"""HTTP clients that leave before their answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive

from servers.departures import run_until_gone
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service


async def test_a_handler_is_cancelled_when_its_client_leaves(serve: Serve) -> None:
    """The work of a client that hung up frees its place at once."""
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def compute(request: Request) -> Response:
        await request.body()
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    service = build_service()
    service.routes = (Route("/compute", compute, methods=["POST"]),)
    running = await serve(service)
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /compute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    await entered.wait()
    writer.close()
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_what_follows_a_complete_answer_is_not_cut(serve: Serve) -> None:
    """A background task outlives the answer, although the server then reports a disconnect."""
    finished = asyncio.Event()

    async def later() -> None:
        async with httpx.AsyncClient(base_url=running.http) as other:
            await other.get("/healthz")
        finished.set()

    async def answer(request: Request) -> Response:
        await request.body()
        return JSONResponse({"done": True}, background=BackgroundTask(later))

    service = build_service()
    service.routes = (Route("/answer", answer, methods=["POST"]),)
    running = await serve(service)
    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.post("/answer", content=b"{}")).json() == {"done": True}
    async with asyncio.timeout(5):
        await finished.wait()


async def test_an_error_of_the_handler_is_the_callers() -> None:
    """Nothing is hidden by the watching."""

    async def app(scope: object, receive: object, send: object) -> None:
        raise ZeroDivisionError

    async def unused(*_: object) -> dict[str, str]:
        return {"type": "http.disconnect"}

    with pytest.raises(ZeroDivisionError):
        await run_until_gone(app, {"type": "http"}, unused, unused)  # type: ignore[arg-type]  # not called


async def test_a_departure_while_the_handler_waits_is_no_error() -> None:
    """The handler is cancelled where it waits, and nothing is raised."""
    seen: list[str] = []
    messages = iter(({"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}))

    async def receive() -> dict[str, object]:
        return dict(next(messages))

    async def app(scope: object, receive: Receive, send: object) -> None:
        seen.append((await receive())["type"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def send(message: object) -> None:
        raise AssertionError("nothing is sent")

    await run_until_gone(app, {"type": "http"}, receive, send)
    assert seen == ["http.request", "cancelled"]
