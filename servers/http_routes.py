"""The HTTP doors that both servers have: health, readiness, metrics, description, console (protocol.md §2).

Knows the service's readiness and telemetry.  Access rules were applied before a request gets here.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from servers.access import AccessRules
from servers.console import ASSETS, PAGES, STATIC, page_headers
from servers.http_errors import refusal
from servers.service import Service
from servers.telemetry import OBSERVERS_COMMAND

__all__ = ["ALWAYS_ANSWERED", "SESSION_PATH", "is_public", "shared_routes", "wants_page"]

ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are answered while draining too."""

SESSION_PATH = "/console/session"
_ASSET_PATHS = frozenset(f"/console/{name}" for name in ASSETS)
COOKIE_MAX_AGE_S = 30 * 86_400
_FRESH = {"cache-control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]


def shared_routes(service: Service, rules: AccessRules) -> list[BaseRoute]:
    """The routes of `service` that do not depend on which server it is."""
    return [
        Route("/healthz", _healthz(service)),
        Route("/readyz", _readyz(service)),
        Route("/metrics", _metrics(service)),
        Route("/", _front(service)),
        Route("/test", _test_page),
        Route(SESSION_PATH, _session(rules), methods=["POST"]),
        Route("/console/activity", _activity(service)),
        Route("/console/lines", _lines(service)),
        Route("/console/{name}", _asset),
    ]


def wants_page(method: str, path: str, accept: str) -> bool:
    """Whether a request is a browser that asks for the console or the test page."""
    return path in PAGES and method in ("GET", "HEAD") and "text/html" in accept.lower()


def is_public(method: str, path: str, accept: str) -> bool:
    """Whether a request needs no token: the pages and their files, which hold no data."""
    return wants_page(method, path, accept) or path in _ASSET_PATHS


def _healthz(service: Service) -> Endpoint:
    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok", "service": service.name, "version": service.version})

    return healthz


def _readyz(service: Service) -> Endpoint:
    async def readyz(request: Request) -> Response:
        is_ready = service.check_alive()
        readiness = service.readiness
        body: dict[str, Any] = {
            "ready": is_ready,
            "service": service.name,
            "version": service.version,
            "phase": "draining" if readiness.is_draining else readiness.phase,
            "progress": readiness.progress,
            "detail": readiness.failure or readiness.detail,
            "device": readiness.device,
        }
        if is_ready:
            return JSONResponse(body)
        return JSONResponse(body, 503, {"retry-after": str(max(1, math.ceil(readiness.retry_after_s())))})

    return readyz


def _metrics(service: Service) -> Endpoint:
    async def metrics(request: Request) -> Response:
        service.check_alive()
        return Response(service.telemetry.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})

    return metrics


def _front(service: Service) -> Endpoint:
    links = {"health": "/healthz", "ready": "/readyz", "metrics": "/metrics", "console": "/", "test": "/test"}

    async def front(request: Request) -> Response:
        if _is_for_a_person(request):
            return _page(request)
        paths = [route.path for route in service.routes if isinstance(route, Route)]
        return JSONResponse(
            {
                "name": f"lucid {service.name} server",
                "service": service.name,
                "version": service.version,
                "phase": service.readiness.phase,
                "commands": [command.name for command in service.commands],
                "peers": service.telemetry.peers,
                "links": {**links, "websocket": "/", **{path: path for path in paths}},
                **service.describe(),
            },
            # A browser that stored this would show it to whoever goes back to the page of the same address.
            headers={"vary": "Accept", "cache-control": "no-store"},
        )

    return front


async def _test_page(request: Request) -> Response:
    if _is_for_a_person(request):
        return _page(request)
    text = "GET /test is a page for browsers (Accept: text/html); GET / lists what there is for programs."
    return refusal(404, "not_found", text, request.url.path)


def _is_for_a_person(request: Request) -> bool:
    return wants_page(request.method, request.url.path, request.headers.get("accept", ""))


def _page(request: Request) -> Response:
    headers = page_headers(request.headers["host"])
    return FileResponse(PAGES[request.url.path], media_type="text/html; charset=utf-8", headers=headers)


def _session(rules: AccessRules) -> Endpoint:
    async def session(request: Request) -> Response:
        # The token was proved to get here; without one configured there is nothing to remember.
        response = Response(status_code=204)
        if rules.token is not None:
            response.set_cookie(
                rules.cookie_name,
                rules.cookie_value(),
                max_age=COOKIE_MAX_AGE_S,
                httponly=True,
                samesite="strict",
            )
        return response

    return session


def _activity(service: Service) -> Endpoint:
    """What the server has answered lately and works on now; without bodies."""

    async def activity(request: Request) -> Response:
        now = asyncio.get_running_loop().time()
        return JSONResponse(
            service.telemetry.activity.document(now, without={OBSERVERS_COMMAND}), headers=_FRESH
        )

    return activity


def _lines(service: Service) -> Endpoint:
    """What the process has logged lately; `?after=N` leaves out what the page has."""

    async def lines(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            text = "after: must be the number of a line."
            return refusal(400, "invalid_request", text, request.url.path)
        # The pid tells the page of a restart: the numbers of another process begin anew.
        body = {"pid": os.getpid(), "lines": service.telemetry.lines.after(int(after))}
        return JSONResponse(body, headers=_FRESH)

    return lines


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        return refusal(404, "not_found", f"There is no {request.url.path} here.", request.url.path)
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}
    return FileResponse(STATIC / name, media_type=ASSETS[name], headers=headers)
