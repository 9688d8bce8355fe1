"""Failures on the HTTP doors: status, headers and body of a RequestError.

Decides the HTTP status of every wire code.  Paths under /v1 get OpenAI's error object, since SDKs read
nothing else; all others get the same fields as a WebSocket failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.responses import JSONResponse

from servers.errors import RequestError
from servers.protocol import failure

__all__ = ["STATUS_OF_CODE", "error_response", "refusal"]

STATUS_OF_CODE: Mapping[str, int] = {
    "invalid_json": 400,
    "invalid_request": 400,
    "origin_null": 403,
    "not_found": 404,
    "unknown_command": 404,
    "too_large": 413,
    "overloaded": 429,
    "cancelled": 499,
    "internal": 500,
    "storage_error": 500,
    "model_loading": 503,
    "store_opening": 503,
    "shutting_down": 503,
    "deadline_exceeded": 504,
    "storage_full": 507,
}


def error_response(error: RequestError, path: str) -> JSONResponse:
    """The response for an error that a handler raised, with Retry-After in whole seconds when it has one."""
    status = STATUS_OF_CODE.get(error.code, 500)
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, math.ceil(error.retry_after)))}
    body = failure(error, None)
    if path.startswith("/v1/"):
        body = _openai_body(error.text, error.code, status)
    return JSONResponse(body, status, headers)


def refusal(
    status: int, code: str, text: str, path: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The response of the gate itself: a code outside the request errors, such as `unauthorized`."""
    body: dict[str, object] = {"status": "error", "error": text, "message": text, "code": code}
    if path.startswith("/v1/"):
        body = _openai_body(text, code, status)
    return JSONResponse(body, status, dict(headers or {}))


def _openai_body(text: str, code: str, status: int) -> dict[str, object]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}
