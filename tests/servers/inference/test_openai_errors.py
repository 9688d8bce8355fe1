"""Failures on /v1 have the status, object and headers that SDKs act on."""

import pytest

from servers.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelLoading,
    Overloaded,
    RequestError,
    ShuttingDown,
    TooLarge,
)
from servers.inference.openai_errors import ApiError, error_reply


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("bad", details={"field": "input"}), 400, "invalid_request_error"),
        (TooLarge("big"), 413, "invalid_request_error"),
        (Overloaded("full", retry_after=2.3), 429, "rate_limit_error"),
        (ModelLoading("loading", retry_after=1.0), 503, "server_error"),
        (ShuttingDown("bye"), 503, "server_error"),
        (DeadlineExceeded("late"), 504, "server_error"),
        (InternalError("abc"), 500, "server_error"),
    ],
)
def test_each_failure_has_its_status_and_type(error: RequestError, status: int, kind: str) -> None:
    """The error object has all four fields, always."""
    reply = error_reply(error)
    assert reply.status == status
    assert set(reply.body["error"]) == {"message", "type", "param", "code"}
    assert reply.body["error"]["type"] == kind
    assert reply.body["error"]["message"] == error.text
    assert reply.code == error.code


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Overloaded("full", retry_after=2.3), "3"),
        (Overloaded("full", retry_after=0.1), "1"),
        (ShuttingDown("b"), "1"),
    ],
)
def test_whoever_may_retry_is_told_when_in_whole_seconds(error: RequestError, header: str) -> None:
    """429 and 503 carry Retry-After, rounded up; nothing else does."""
    assert error_reply(error).headers == {"retry-after": header}
    assert error_reply(InvalidRequest("bad")).headers == {}


def test_the_field_at_fault_is_the_param() -> None:
    """SDKs show `param` to the user."""
    assert error_reply(InvalidRequest("bad", details={"field": "input"})).body["error"]["param"] == "input"
    reply = error_reply(ApiError(404, "no", param="model", code="model_not_found"))
    assert (reply.status, reply.body["error"]["param"], reply.code) == (404, "model", "model_not_found")
