"""The error tree: codes, texts and exit codes."""

from __future__ import annotations

import pytest

from servers import errors
from servers.errors import BadSettings, InternalError, InvalidJson, PortTaken, RequestError, StartupError
from servers.http_errors import STATUS_OF_CODE

CODES = {
    "InvalidJson": "invalid_json",
    "InvalidRequest": "invalid_request",
    "UnknownCommand": "unknown_command",
    "TooLarge": "too_large",
    "ModelLoading": "model_loading",
    "StoreOpening": "store_opening",
    "Overloaded": "overloaded",
    "DeadlineExceeded": "deadline_exceeded",
    "Cancelled": "cancelled",
    "ShuttingDown": "shutting_down",
    "OriginNull": "origin_null",
    "NotFound": "not_found",
    "StorageError": "storage_error",
    "StorageFull": "storage_full",
    "InternalError": "internal",
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_wire_codes_are_the_contracts(name: str, code: str) -> None:
    """Clients branch on these words."""
    kind = getattr(errors, name)
    assert issubclass(kind, RequestError)
    assert kind.code == code


def test_every_request_error_has_an_http_status() -> None:
    """No failure falls back to an unexplained 500."""
    assert set(STATUS_OF_CODE) == set(CODES.values())


def test_invalid_json_keeps_its_text_and_gives_the_reason_beside_it() -> None:
    """The text is compared by clients, the reason is for people."""
    error = InvalidJson("the frame is not UTF-8")
    assert str(error) == "Invalid JSON format"
    assert error.details == {"reason": "the frame is not UTF-8"}


def test_an_internal_error_names_its_incident() -> None:
    """Text and details lead to the log."""
    error = InternalError("abc")
    assert "abc" in error.text
    assert error.details == {"incident": "abc"}


def test_a_startup_error_says_what_where_and_the_mend() -> None:
    """Three lines for somebody at three in the morning, with a stable code."""
    text = str(BadSettings("port: not a number", where="--port", mend="give one from 1 to 65535"))
    assert text == (
        "error E_SETTINGS: port: not a number\n  where: --port\n  fix:   give one from 1 to 65535"
    )


def test_exit_codes_tell_the_launcher_what_to_do() -> None:
    """78 is never retried; a taken port is a conflict."""
    assert (StartupError("x").exit_code, PortTaken("x").exit_code) == (78, 5)
