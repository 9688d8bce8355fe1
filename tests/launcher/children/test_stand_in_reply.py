"""What clients hear in place of a service: requests told from other talk, and the 503 that they get."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.children.stand_in_reply import HEAD_BYTES, Situation, build_reply, judge

BACKOFF = Situation("memory", "backoff", True, 11.2)


def parts(reply: bytes) -> tuple[str, dict[str, str], bytes]:
    """The status line, the fields by lower-case name, and the body."""
    head, _, body = reply.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    named = dict(field.split(": ", 1) for field in fields)
    return line, {name.lower(): value for name, value in named.items()}, body


@pytest.mark.parametrize(
    "received",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\n\n",
        b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES,
    ],
)
def test_whole_heads_are_requests(received: bytes) -> None:
    """The head of HTTP/1 is a request, with a body or not, and so is one that is too long to wait for."""
    assert judge(received) == "request"


@pytest.mark.parametrize(
    "received", [b"", b"G", b"GET", b"GET /a", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b\r\n"]
)
def test_beginnings_are_waited_for(received: bytes) -> None:
    """What may still become a head is waited for."""
    assert judge(received) == "more"


@pytest.mark.parametrize(
    "received",
    [
        b"\x16\x03\x01",
        b"get / HTTP/1.1\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET /" + b"a" * HEAD_BYTES,
        b"\r\n",
    ],
)
def test_other_talk_is_a_stranger(received: bytes) -> None:
    """TLS, other protocols and endless first lines are hung up on."""
    assert judge(received) == "stranger"


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_a_verdict_is_never_taken_back(received: bytes, more: bytes) -> None:
    """Whatever comes after, a request stays one and a stranger stays one."""
    verdict = judge(received)
    if verdict != "more":
        assert judge(received + more) == verdict


def test_backoff_tells_when_to_come_back() -> None:
    """The time is the one of the next start: whole seconds in the field, as it is in the body."""
    line, fields, body = parts(build_reply(b"GET / HTTP/1.1\r\n\r\n", BACKOFF))
    document = json.loads(body)
    assert line == "HTTP/1.1 503 Service Unavailable"
    assert (fields["retry-after"], fields["content-length"]) == ("12", str(len(body)))
    assert (document["status"], document["code"], document["retry_after"]) == ("error", "starting", 11.2)
    assert document["error"] == document["message"] == "memory has ended and starts again in 11.2 s"
    assert document["details"] == {"service": "memory", "state": "backoff"}


def test_a_head_is_answered_without_a_body() -> None:
    """HEAD gets the length of the body that GET would get, and none."""
    _, fields, body = parts(build_reply(b"HEAD / HTTP/1.1\r\n\r\n", BACKOFF))
    assert body == b""
    assert int(fields["content-length"]) > 0


@pytest.mark.parametrize(
    ("situation", "code", "retry"),
    [
        (Situation("a", "backoff", True, 0.02), "starting", "1"),
        (Situation("a", "backoff", True, -3.0), "starting", "1"),
        (Situation("a", "waiting", True), "starting", "1"),
        (Situation("a", "stopping", True), "starting", "1"),
        (Situation("a", "stopping", False), "not_running", None),
        (Situation("a", "stopped", False), "not_running", None),
        (Situation("a", "failed", True), "not_running", None),
    ],
)
def test_every_situation_has_an_honest_answer(situation: Situation, code: str, retry: str | None) -> None:
    """Retry-After is at least a second, and is left out where waiting is of no use."""
    _, fields, body = parts(build_reply(b"GET / HTTP/1.1\r\n\r\n", situation))
    assert (json.loads(body)["code"], fields.get("retry-after")) == (code, retry)
    assert ("retry_after" in json.loads(body)) == (retry is not None)
