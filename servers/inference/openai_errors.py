"""How failures look on the OpenAI-compatible door: status, error object, headers (protocol.md section 6).

It decides the error object's fields and `type`; the statuses are those of all HTTP doors. It does not know
how a failure came about.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from servers.errors import RequestError
from servers.http_errors import STATUS_OF_CODE

_RATE_LIMITED: Final = 429
_DEFAULT_RETRY_S: Final = 1.0
_RETRIED: Final = (429, 503)


class ApiError(Exception):
    """A refusal that only this door knows; `status` is the HTTP status, the rest is the error object."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        """Hold the error object's fields; `type` follows from the status."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def __str__(self) -> str:
        """Return the message that the client sees."""
        return self.message


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """What is sent: status, JSON body `{"error": {message, type, param, code}}`, headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The code under which the failure is counted."""
        error: dict[str, str | None] = self.body["error"]
        return error["code"] or "invalid_request"


def error_reply(error: ApiError | RequestError) -> ErrorReply:
    """Return how `error` is answered; 429 and 503 always carry Retry-After in whole seconds."""
    if isinstance(error, ApiError):
        return _reply(error.status, error.message, error.param, error.code, None)
    status = STATUS_OF_CODE.get(error.code, 500)
    param = (error.details or {}).get("field")
    return _reply(status, error.text, str(param) if param else None, error.code, error.retry_after)


def _reply(
    status: int, message: str, param: str | None, code: str | None, retry_after: float | None
) -> ErrorReply:
    kind = "invalid_request_error" if status < 500 else "server_error"
    if status == _RATE_LIMITED:
        kind = "rate_limit_error"
    headers = {}
    if status in _RETRIED:
        headers["retry-after"] = str(max(1, math.ceil(retry_after or _DEFAULT_RETRY_S)))
    return ErrorReply(
        status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, headers
    )
