"""The doors over real sockets: who comes in, and what each door answers."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from servers.errors import Overloaded
from tests.servers.conftest import Running, Serve
from tests.servers.probe_server import build_service

TOKEN = "s3cret-token-of-a-test"


async def ask(socket: object, request: object) -> dict[str, object]:
    """One request over an open client, and its reply."""
    await socket.send(json.dumps(request))  # type: ignore[attr-defined]  # a websockets client
    return json.loads(await socket.recv())  # type: ignore[attr-defined,no-any-return]  # a websockets client


async def status_of_handshake(running: Running, **options: object) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a refused handshake."""
    with pytest.raises(InvalidStatus) as raised:
        await connect(running.ws, **options)  # type: ignore[arg-type]  # passed through
    response = raised.value.response
    return (
        response.status_code,
        {key.lower(): value for key, value in response.headers.items()},
        response.body or b"",
    )


@pytest.mark.parametrize("path", ["", "ws", "any/path?query=1", "v1/embeddings"])
@pytest.mark.parametrize("origin", [None, "http://localhost:3000"])
async def test_every_path_upgrades_with_and_without_origin(
    serve: Serve, path: str, origin: str | None
) -> None:
    """The seed refused browsers on all paths but one."""
    running = await serve()
    async with connect(running.ws + path, origin=origin) as socket:  # type: ignore[arg-type]  # a plain string
        assert (await ask(socket, {"type": "stats"}))["status"] == "success"


async def test_a_foreign_page_is_refused_on_every_door(serve: Serve) -> None:
    """403 for the handshake, for requests and for the preflight, and no CORS header with it."""
    running = await serve()
    evil = {"origin": "https://evil.example"}
    assert (await status_of_handshake(running, additional_headers=evil))[0] == 403
    async with httpx.AsyncClient(base_url=running.http) as client:
        for method, path in (("GET", "/"), ("GET", "/healthz"), ("GET", "/metrics"), ("OPTIONS", "/x")):
            response = await client.request(method, path, headers=evil)
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers


async def test_a_page_without_origin_gets_stats_only(serve: Serve) -> None:
    """`Origin: null` opens, is answered stats, and is told what to do about the rest."""
    running = await serve()
    async with connect(running.ws, additional_headers={"origin": "null"}) as socket:
        assert (await ask(socket, {"type": "stats"}))["status"] == "success"
        for request in ({"type": "echo", "text": "a"}, {"type": "no-such"}, {"type": "cancel", "id": 1}):
            reply = await ask(socket, request)
            assert reply["code"] == "origin_null"
            assert "allowed_origins" in str(reply["error"])
    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.get("/metrics", headers={"origin": "null"})).status_code == 403


async def test_null_may_be_allowed_by_the_settings(serve: Serve) -> None:
    """allowed_origins: ['null'] lifts the restriction."""
    running = await serve(allowed_origins=("null",))
    async with connect(running.ws, additional_headers={"origin": "null"}) as socket:
        assert (await ask(socket, {"type": "echo", "text": "a"}))["status"] == "success"


@pytest.mark.parametrize("hosts", [["evil.example"], ["localhost", "localhost"], []])
async def test_a_bad_host_is_misdirected_on_both_kinds_of_door(serve: Serve, hosts: list[str]) -> None:
    """421 for a foreign name, for two names and for none."""
    running = await serve()
    fields = "".join(f"Host: {host}\r\n" for host in hosts)
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for extra in ("", upgrade):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"GET /healthz HTTP/1.1\r\n{fields}{extra}\r\n".encode())
        assert (await reader.readline()).split()[1] == b"421"
        writer.close()
        await writer.wait_closed()


async def test_an_allowed_host_comes_in(serve: Serve) -> None:
    """allowed_hosts names what DNS or a proxy calls this machine."""
    running = await serve(allowed_hosts=("MyBox.lan",))
    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.get("/healthz", headers={"host": "mybox.lan:5000"})).status_code == 200


async def test_the_token_opens_and_its_absence_does_not(serve: Serve) -> None:
    """401 over HTTP, 403 at the handshake; header, subprotocol and cookie open."""
    running = await serve(token=TOKEN)
    assert (await status_of_handshake(running))[0] == 403
    assert (await status_of_handshake(running, subprotocols=["bearer.wrong-token"]))[0] == 403
    async with connect(running.ws, subprotocols=[f"bearer.{TOKEN}"]) as socket:  # type: ignore[list-item]  # str
        assert socket.subprotocol == f"bearer.{TOKEN}"
    bearer = {"authorization": f"Bearer {TOKEN}"}
    async with connect(running.ws, additional_headers=bearer) as socket:
        assert socket.subprotocol is None
    async with httpx.AsyncClient(base_url=running.http) as client:
        for path in ("/", "/metrics", "/readyz", "/nope"):
            refused = await client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert (await client.get(path, headers=bearer)).status_code != 401


async def test_the_console_trades_the_token_for_a_cookie(serve: Serve) -> None:
    """The page itself is public; the cookie is HttpOnly and SameSite=Strict and opens the WebSocket."""
    running = await serve(token=TOKEN)
    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.get("/", headers={"accept": "text/html"})).status_code == 200
        assert (await client.post("/console/session")).status_code == 401
        response = await client.post("/console/session", headers={"authorization": f"Bearer {TOKEN}"})
        cookie = response.headers["set-cookie"]
        assert response.status_code == 204
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
    async with connect(running.ws, additional_headers={"cookie": cookie.partition(";")[0]}) as socket:
        assert (await ask(socket, {"type": "stats"}))["status"] == "success"


async def test_the_preflight_is_answered_as_the_contract_says(serve: Serve) -> None:
    """204, the origin itself, the asked-for headers, credentials, and Vary."""
    running = await serve(token=TOKEN)
    async with httpx.AsyncClient(base_url=running.http) as client:
        response = await client.options(
            "/any/path",
            headers={
                "origin": "http://localhost:3000",
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type, x-mine",
            },
        )
        plain = await client.options("/", headers={"origin": "http://localhost:3000"})
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert response.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert response.headers["access-control-allow-headers"] == "content-type, x-mine"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["vary"] == "Origin"
    assert plain.headers["access-control-allow-headers"] == "*"


async def test_answers_carry_cors_headers_for_an_allowed_origin_only(serve: Serve) -> None:
    """Without an Origin there is nothing to allow, but caches are told that it matters."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        page = await client.get("/healthz", headers={"origin": "http://127.0.0.1:9"})
        program = await client.get("/healthz")
    assert page.headers["access-control-allow-origin"] == "http://127.0.0.1:9"
    assert "access-control-allow-origin" not in program.headers
    assert program.headers["vary"] == page.headers["vary"] == "Origin"


async def test_connections_over_the_cap_are_refused_before_they_open(serve: Serve) -> None:
    """503 with Retry-After; a place that is given back can be taken."""
    running = await serve(max_connections=2)
    async with connect(running.ws), connect(running.ws) as second:
        status, headers, body = await status_of_handshake(running)
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["code"] == "overloaded"
        await second.close()
        async with connect(running.ws) as third:
            assert (await ask(third, {"type": "stats"}))["stats"]["connections"] == 2  # type: ignore[index]  # a dict


async def test_bodies_are_counted_and_bugs_are_not_shown(serve: Serve) -> None:
    """413 for an announced and for a streamed body over the limit; a bug is a 500 with an incident."""

    async def read(request: Request) -> Response:
        return JSONResponse({"size": len(await request.body())})

    async def broken(request: Request) -> Response:
        raise ZeroDivisionError("a secret detail")

    async def full(request: Request) -> Response:
        raise Overloaded("The queue is full.", retry_after=1.2)

    service = build_service()
    service.routes = (
        Route("/read", read, methods=["POST"]),
        Route("/broken", broken),
        Route("/v1/full", full),
    )
    running = await serve(service, max_message_bytes=2048)

    async def stream(size: int) -> object:
        for _ in range(size // 512):
            yield b"x" * 512

    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.post("/read", content=b"x" * 2048)).json() == {"size": 2048}
        assert (await client.post("/read", content=b"x" * 2049)).status_code == 413
        assert (await client.post("/read", content=stream(4096))).status_code == 413  # type: ignore[arg-type]  # an iterator
        failed = await client.get("/broken")
        assert failed.status_code == 500
        assert "secret" not in failed.text
        assert failed.json()["details"]["incident"]
        refused = await client.get("/v1/full")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["error"]["code"] == "overloaded"
