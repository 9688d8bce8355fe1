"""The control socket of a real supervisor: who may talk, what is answered, what is told until the very end."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile

TWO = f"  a: {{command: {hostile()}}}\n  b: {{command: {hostile()}, depends_on: {{a: ready}}}}\n"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def test_control_socket_is_private(stack: SupervisedStack) -> None:
    """Folder 0700, socket 0600."""
    stack.write(TWO)
    stack.start()
    assert stat.S_IMODE(stack.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.socket.parent.stat().st_mode) == 0o700


def test_plain_http_status(stack: SupervisedStack) -> None:
    """`GET /status` needs no library: one request, one document, then the connection ends."""
    stack.write(TWO)
    stack.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stack.socket))
        client.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    document = json.loads(body)
    assert (document["schema"], document["project"], document["config"]) == (
        "lucid.status/1",
        "test",
        "config.yaml",
    )
    assert set(document["services"]) == {"a", "b"}


BAD_FRAMES = [
    ("{", "invalid_json"),
    (b"\xff\xfe", "invalid_json"),
    ("[1]", "invalid_request"),
    ("{}", "invalid_request"),
    ('{"type": 7}', "invalid_request"),
    ('{"type": "stop", "data": [1]}', "invalid_request"),
    ('{"type": "stop", "data": {"services": "a"}}', "invalid_request"),
    ('{"type": "down", "data": {"timeout_s": "soon"}}', "invalid_request"),
    ('{"type": "events", "data": {"since": "x"}}', "invalid_request"),
    ('{"type": "dance"}', "unknown_command"),
    ('{"type": "stop", "data": {"services": ["aa"]}}', "E_NO_SUCH_SERVICE"),
    ("[" * 100_000, "invalid_json"),
]


def test_malformed_requests_are_answered(stack: SupervisedStack) -> None:
    """Every bad frame gets its one error reply on the same connection, and the next request works."""
    stack.write(TWO)
    stack.start()
    with stack.connected() as connection:
        for frame, code in BAD_FRAMES:
            connection.send(frame)
            reply = json.loads(connection.recv(30))
            assert (reply["status"], reply["code"]) == ("error", code), frame[:60]
            assert reply["error"] == reply["message"]
        connection.send('{"type": "snapshot", "id": [1, 2]}')
        reply = json.loads(connection.recv(30))
        assert (reply["status"], reply["type"], reply["id"]) == ("success", "snapshot", [1, 2])


def test_slow_subscriber_costs_nothing(stack: SupervisedStack) -> None:
    """A client that subscribes and never reads holds back nobody and no memory."""
    quick = "restart: {backoff: {initial: 10ms, max: 10ms}, max_failures: 12}"
    stack.write(f"  a: {{command: {hostile('--exit', '1')}, {quick}}}\n")
    stack.start()
    with stack.connected() as idle:
        idle.send('{"type": "subscribe", "data": {"events": true}}')
        before = stack.ask("snapshot")["snapshot"]["supervisor"]["rss_bytes"]
        stack.wait_state("a", "failed")
        after = stack.ask("snapshot")["snapshot"]["supervisor"]["rss_bytes"]
        assert after - before < 8_000_000
