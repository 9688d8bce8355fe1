"""The control socket of a real supervisor: who may talk, what is answered, what is told until the end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.integration.stack import free_ports
from tests.integration.supervised_stack import WAIT_S, SupervisedStack, hostile

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


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedStack]:
    """One supervisor that has to survive everything that this module throws at it."""
    folder = tmp_path_factory.mktemp("fuzzed")
    before = os.environ.get("XDG_RUNTIME_DIR")
    stack = SupervisedStack(folder)
    stack.write(TWO)
    stack.start()
    yield stack
    stack.close()
    if before is None:
        os.environ.pop("XDG_RUNTIME_DIR", None)
    else:
        os.environ["XDG_RUNTIME_DIR"] = before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from(["snapshot", "up", "start", "restart", "scale", "events", "subscribe", "dance"])
NAMES = st.sampled_from(["services", "service", "replicas", "since", "events", "timeout_s", "strict_ports"])
REQUESTS = st.fixed_dictionaries(
    {"type": KINDS | JSON, "data": st.dictionaries(NAMES, JSON, max_size=4) | JSON}, optional={"id": JSON}
)
FRAMES = REQUESTS.map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=200) | st.binary(max_size=200)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FRAMES, min_size=1, max_size=5))
def test_any_frame_is_answered_and_survived(fuzzed: SupervisedStack, frames: list[str | bytes]) -> None:
    """Each gets a reply that says what was wrong or that it was done, and the next client is served."""
    with fuzzed.connected() as connection:
        for frame in frames:
            connection.send(frame)
            while "status" not in (reply := json.loads(connection.recv(WAIT_S))):
                pass  # a subscription may have been among them
            assert reply["status"] in ("success", "error")
            assert reply["status"] == "success" or reply["code"]
    assert fuzzed.ask("snapshot")["snapshot"]["supervisor"]["pid"] == fuzzed.report["pid"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_any_bytes_are_survived(fuzzed: SupervisedStack, garbage: bytes, has_shaken_hands: bool) -> None:
    """What is neither HTTP nor a WebSocket ends its own connection at most."""
    if has_shaken_hands:
        with fuzzed.connected() as connection:
            connection.socket.sendall(garbage)
    else:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(fuzzed.socket))
            client.sendall(garbage)
    assert fuzzed.ask("snapshot")["status"] == "success"


def test_metrics_tell_restarts_by_cause(stack: SupervisedStack) -> None:
    """On the socket and on the loopback port, as Prometheus reads them."""
    (port,) = free_ports(1)
    health = "health: {http: /, period: 50ms}, restart: {backoff: {initial: 10ms}}"
    serve = f"command: {hostile('--serve')}, port: auto, inherit_sockets: true, host: 127.0.0.1"
    stack.config.write_text(f"project: m\nmetrics_port: {port}\nservices:\n  a: {{{serve}, {health}}}\n")
    stack.start()
    os.kill(stack.wait_state("a", "ready")["pid"], signal.SIGKILL)
    stack.wait_state("a", "ready", generation=2)
    stack.ask("restart", services=["a"])
    stack.wait_state("a", "ready", generation=3)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stack.socket))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        on_socket = b"".join(iter(lambda: client.recv(65536), b"")).decode().partition("\r\n\r\n")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    for text in (on_socket, response.read().decode()):
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        values = {(s.name, s.labels.get("cause"), s.labels.get("state")): s.value for s in samples}
        assert values["lucid_child_restarts_total", "killed", None] == 1
        assert values["lucid_child_restarts_total", "restart_requested", None] == 1
        assert values["lucid_child_ready_seconds_count", None, None] == 3
        assert values["lucid_child_downtime_seconds_total", None, None] > 0
        assert values["lucid_probe_duration_seconds_count", None, None] >= 3
        assert values["lucid_child_state", None, "ready"] == 1
        assert values["lucid_log_lines_dropped_total", None, None] == 0
    connection.close()


def test_a_metrics_port_that_is_taken_stops_the_start(stack: SupervisedStack) -> None:
    """With the place in the file and the holder, and nothing of the stack is left running."""
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        stack.config.write_text(f"metrics_port: {port}\nservices:\n  a: {{command: {hostile()}}}\n")
        error = stack.start()["error"]
    assert (error["code"], stack.wait_end()) == ("E_PORT_IN_USE", 5)
    assert "config.yaml:1:15" in error["message"]
    assert str(os.getpid()) in error["message"]


def until_closed(connection: ClientConnection) -> Iterator[str | bytes]:
    """Every frame until the other side has said goodbye."""
    with suppress(ConnectionClosed):
        while True:
            yield connection.recv(WAIT_S)


def test_the_last_changes_are_told_before_the_socket_closes(stack: SupervisedStack) -> None:
    """Who follows a `down` hears of every child that it has stopped, and then a goodbye."""
    stack.write(TWO)
    stack.start()
    stack.wait_state("b", "ready")
    with stack.connected() as connection:
        connection.send('{"type": "subscribe", "data": {"events": true}}')
        connection.send('{"type": "down"}')
        frames = [json.loads(frame) for frame in until_closed(connection)]
        assert connection.close_code == 1001
    events = [frame["event"] for frame in frames if frame.get("type") == "event"]
    assert [event["child"] for event in events if event["to"] == "stopped"] == ["b", "a"]
    services = frames[-1]["snapshot"]["services"]
    assert {service["state"] for service in services.values()} == {"stopped"}
