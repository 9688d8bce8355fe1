"""Failures over HTTP."""

from __future__ import annotations

import json

from servers.errors import ModelLoading, Overloaded
from servers.http_errors import error_response, refusal


def body_of(response: object) -> dict[str, object]:
    """The JSON body of a response."""
    return json.loads(response.body)  # type: ignore[attr-defined,no-any-return]  # a JSON response


def test_a_failure_has_the_fields_of_the_websocket() -> None:
    """Phase and retry_after are there, and Retry-After is in whole seconds, at least one."""
    error = ModelLoading("Not yet.", details={"phase": "warmup", "progress": None}, retry_after=0.2)
    response = error_response(error, "/mcp")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert body_of(response)["phase"] == "warmup"


def test_v1_has_the_shape_of_openai() -> None:
    """SDKs read error.message and nothing else."""
    response = error_response(Overloaded("Full.", retry_after=2), "/v1/embeddings")
    assert response.status_code == 429
    assert body_of(response) == {
        "error": {"message": "Full.", "type": "invalid_request_error", "param": None, "code": "overloaded"}
    }


def test_a_refusal_of_the_gate_has_its_own_code_and_headers() -> None:
    """Codes outside the request errors, such as unauthorized."""
    response = refusal(401, "unauthorized", "Token.", "/", {"www-authenticate": "Bearer"})
    assert response.headers["www-authenticate"] == "Bearer"
    assert body_of(response) == {
        "status": "error",
        "error": "Token.",
        "message": "Token.",
        "code": "unauthorized",
    }
