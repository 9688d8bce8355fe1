"""The doors shared by both servers, as one ASGI application (protocol.md §2).

Decides who comes in (through `servers.access`), how many, and what every door does alike: CORS, body limit,
draining, failures.  Behind it are `servers.session` for WebSockets on any path and Starlette routes for HTTP.
Does not bind sockets and knows no signals: `servers.serve` does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from servers.access import AccessRules, Credentials, OriginVerdict
from servers.departures import run_until_gone
from servers.errors import RequestError, ShuttingDown, TooLarge
from servers.http_errors import error_response, refusal
from servers.http_routes import ALWAYS_ANSWERED, is_public, shared_routes
from servers.readiness import Readiness
from servers.service import Command, RequestContext, Service
from servers.session import NULL_ORIGIN_TEXT, Session, unforeseen
from servers.settings import ServerSettings

__all__ = ["Command", "Doors", "Readiness", "RequestContext", "Service"]

EXPOSED_HEADERS = (
    "Retry-After, Mcp-Session-Id, "
    "x-request-id, x-total-time, x-queue-time, x-tokenization-time, x-inference-time"
)
_TOKEN_TEXT = (
    "This server needs its token: send 'Authorization: Bearer <token>' or the subprotocol bearer.<token>."
)


@dataclass(frozen=True)
class Refusal:
    """Why a request does not come in."""

    status: int
    code: str
    text: str


class Doors:
    """The ASGI application of one service.

    `close_code` is what WebSockets are closed with after a drain: 1012 when a restart is likely, else 1001.
    """

    def __init__(
        self, service: Service, settings: ServerSettings, rules: AccessRules, *, close_code: int = 1001
    ) -> None:
        self._service, self._settings, self._rules = service, settings, rules
        self._close_code = close_code
        self._sessions: set[Session] = set()
        self._requests = 0
        self._numbers = itertools.count(1)
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._router = Router([*shared_routes(service, rules), *service.routes], default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request or one WebSocket."""
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)

    def drain(self) -> None:
        """Takes nothing new; accepted requests are answered, then every WebSocket is closed."""
        for session in self._sessions:
            session.drain()

    def abandon(self) -> None:
        """Cancels the WebSocket requests that are still computed; they are answered `shutting_down`."""
        for session in self._sessions:
            session.abandon()

    async def wait_empty(self) -> None:
        """Returns once no WebSocket is open and no HTTP request is being answered."""
        await self._emptied.wait()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect; the server is answered only after it
        headers = Headers(scope=scope)
        verdict = self._rules.judge_origin(headers.getlist("origin"))
        refused = self._judge_websocket(scope, headers, verdict)
        if refused is not None:
            await _refuse_handshake(refused, scope, receive, send)
            return
        session = Session(
            self._service,
            self._settings,
            next(self._numbers),
            verdict is OriginVerdict.NULL,
            receive,
            send,
            self._close_code,
        )
        self._sessions.add(session)
        self._count()
        try:
            subprotocol = self._rules.choose_subprotocol(scope["subprotocols"])
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
            await session.run()
        finally:
            self._sessions.discard(session)
            self._count()

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        verdict = self._rules.judge_origin(headers.getlist("origin"))
        answer = self._judge_http(scope, headers, verdict)
        if verdict is OriginVerdict.ALLOWED:
            send = _with_cors(headers.get("origin"), send)
        self._requests += 1
        self._count()
        try:
            if answer is not None:
                await answer(scope, receive, send)
            else:
                await self._route(scope, receive, send, headers)
        finally:
            self._requests -= 1
            self._count()

    async def _route(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        limit = self._settings.max_message_bytes
        has_started = False

        async def noting(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        # In an application Starlette raises what it would answer in plain text: a method that is not there.
        inside = {**scope, "app": self}
        try:
            _require_length(headers.get("content-length"), limit)
            await run_until_gone(self._router, inside, _bounded(receive, limit), noting)
        except HTTPException as raised:
            await _method_refusal(raised, scope)(scope, receive, send)
        except Exception as raised:
            error = raised if isinstance(raised, RequestError) else unforeseen(scope["path"])
            if not has_started:
                await error_response(error, scope["path"])(scope, receive, send)

    def _judge_websocket(self, scope: Scope, headers: Headers, verdict: OriginVerdict) -> Refusal | None:
        refused = self._judge_source(scope, headers, verdict)
        if refused is not None:
            return refused
        if not self._rules.is_authorized(_credentials(headers, scope["subprotocols"])):
            return Refusal(403, "unauthorized", _TOKEN_TEXT)
        if self._service.readiness.is_draining:
            return Refusal(503, ShuttingDown.code, "The server is shutting down.")
        if len(self._sessions) >= self._settings.max_connections:
            text = f"All {self._settings.max_connections} connections of this server are in use."
            return Refusal(503, "overloaded", text)
        return None

    def _judge_http(self, scope: Scope, headers: Headers, verdict: OriginVerdict) -> Response | None:
        """The answer to give instead of routing: a refusal or a preflight's."""
        method, path = scope["method"], scope["path"]
        refused = self._judge_source(scope, headers, verdict)
        if refused is None and verdict is OriginVerdict.NULL:
            refused = Refusal(403, "origin_null", NULL_ORIGIN_TEXT)
        if refused is not None:
            return refusal(refused.status, refused.code, refused.text, path)
        if method == "OPTIONS":
            return Response(status_code=204, headers=_preflight_headers(headers))
        if not is_public(method, path, headers.get("accept", "")) and not self._rules.is_authorized(
            _credentials(headers, ())
        ):
            return refusal(401, "unauthorized", _TOKEN_TEXT, path, {"www-authenticate": "Bearer"})
        if self._service.readiness.is_draining and path not in ALWAYS_ANSWERED:
            return error_response(ShuttingDown("The server is shutting down.", retry_after=1.0), path)
        return None

    def _judge_source(self, scope: Scope, headers: Headers, verdict: OriginVerdict) -> Refusal | None:
        server = scope.get("server")
        hosts = headers.getlist("host")
        if not self._rules.is_host_allowed(hosts, server[0] if server else None):
            shown = ", ".join(hosts)[:80] or "nothing"
            text = f"Host names {shown}, which is not this server; add it to allowed_hosts if it is meant."
            return Refusal(421, "host_not_allowed", text)
        if verdict is OriginVerdict.FOREIGN:
            shown = ", ".join(headers.getlist("origin"))[:80]
            text = (
                f"Pages of {shown} may not use this server; add the origin to allowed_origins if it is meant."
            )
            return Refusal(403, "origin_not_allowed", text)
        return None

    def _count(self) -> None:
        self._service.telemetry.connections = len(self._sessions)
        if self._sessions or self._requests:
            self._emptied.clear()
        else:
            self._emptied.set()


def _credentials(headers: Headers, subprotocols: Iterable[str]) -> Credentials:
    return Credentials(headers.get("authorization"), tuple(subprotocols), tuple(headers.getlist("cookie")))


async def _refuse_handshake(refused: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"retry-after": "1"} if refused.status == 503 else {}
    response = refusal(refused.status, refused.code, refused.text, scope["path"], headers)
    # Starlette sends a response to a websocket scope as `websocket.http.response.*`.
    await response(scope, receive, send)


def _preflight_headers(headers: Headers) -> Mapping[str, str]:
    answer = {
        "access-control-allow-methods": "GET, POST, OPTIONS",
        # `*` does not cover credentialed requests, so what was asked for is named.
        "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
        "access-control-max-age": "600",
    }
    if headers.get("access-control-request-private-network") == "true":
        answer["access-control-allow-private-network"] = "true"
    return answer


def _with_cors(origin: str | None, send: Send) -> Send:
    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["access-control-allow-origin"] = origin
                headers["access-control-allow-credentials"] = "true"
                headers["access-control-expose-headers"] = EXPOSED_HEADERS
        await send(message)

    return send_with_cors


def _require_length(announced: str | None, limit: int) -> None:
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"The body may have at most {limit} bytes; {announced} were announced.")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive` that raises TooLarge once the body has more than `limit` bytes."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge(f"The body may have at most {limit} bytes.")
        return message

    return bounded


def _method_refusal(raised: HTTPException, scope: Scope) -> Response:
    allowed = (raised.headers or {}).get("Allow", "")
    text = f"{scope['path']} does not take {scope['method']}; it takes {allowed or 'other methods'}."
    return refusal(raised.status_code, "method_not_allowed", text, scope["path"], raised.headers)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    text = f"There is no {scope['path']} here; GET / lists what there is."
    await refusal(404, "not_found", text, scope["path"])(scope, receive, send)
