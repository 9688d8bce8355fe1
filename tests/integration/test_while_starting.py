"""What clients get while nobody listens: they wait for the child, or hear at once when to come back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.supervised_stack import SupervisedStack, hostile, wait_gone

pytestmark = pytest.mark.stack


def serving(flags: str, backoff: str = "10ms", *more: str) -> str:
    """A service that answers HTTP on a held socket."""
    return (
        f"  a: {{command: {hostile('--serve', *more)}, port: auto, inherit_sockets: true, host: 127.0.0.1,"
        f" health: {{http: /, period: 200ms}}, restart: {{backoff: {{initial: {backoff}, jitter: 0}}}},"
        f" {flags}}}\n"
    )


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def get(port: int, timeout_s: float = 20) -> tuple[int, dict[str, str], bytes]:
    """One GET on a new connection: status, fields, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def crash(stack: SupervisedStack) -> None:
    """SIGKILL the child and wait until it is in its backoff."""
    os.kill(stack.wait_state("a", "ready")["pid"], signal.SIGKILL)
    stack.wait_state("a", "backoff")


def test_clients_hear_when_to_come_back(stack: SupervisedStack) -> None:
    """In a long backoff: 503 at once, with the time that `status` tells; afterwards the child serves."""
    stack.write(serving("while_starting: answer", "30s"))
    port = stack.start()["plan"][0]["port"]
    crash(stack)
    before = time.monotonic()
    status, fields, body = get(port)
    took_s = time.monotonic() - before
    document = json.loads(body)
    left_s = stack.child("a")["next_retry_s"]
    assert (status, document["code"]) == (503, "starting")
    assert took_s < 1.0
    assert left_s <= document["retry_after"] <= 30
    assert 1 <= int(fields["Retry-After"]) <= 30
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}/ws", proxy=None)
    assert refused.value.response.status_code == 503
    assert "Retry-After" in refused.value.response.headers
    with socket.create_connection(("127.0.0.1", port), 10) as stranger:
        stranger.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert stranger.recv(100) == b""
    assert stack.ask("start", services=["a"])["status"] == "success"
    stack.wait_state("a", "ready", generation=2)
    assert get(port)[::2] == (200, b"2")


def test_by_default_clients_wait(stack: SupervisedStack) -> None:
    """A client that comes during the backoff is served by the next generation."""
    stack.write(serving("logs: {backups: 1}", "30s"))
    port = stack.start()["plan"][0]["port"]
    crash(stack)
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(get(port)[::2]))
    client.start()
    stack.ask("start", services=["a"])
    client.join(20)
    assert answers == [(200, b"2")]


def test_nobody_is_taken_away_from_a_child_that_can_accept(stack: SupervisedStack) -> None:
    """Through kills without a pause, every client is served or told to come back; nobody is refused."""
    stack.write(serving("while_starting: answer"))
    port = stack.start()["plan"][0]["port"]
    child = stack.wait_state("a", "ready")
    seen: list[int] = []
    done = threading.Event()

    def ask_again_and_again() -> None:
        while not done.is_set():
            try:
                seen.append(get(port)[0])
            except (ConnectionResetError, BrokenPipeError):
                continue  # it was with the child that was killed

    client = threading.Thread(target=ask_again_and_again)
    client.start()
    for generation in range(2, 6):
        os.kill(child["pid"], signal.SIGKILL)
        child = stack.wait_state("a", "ready", generation)
        assert get(port)[0] == 200
    done.set()
    client.join(20)
    assert not client.is_alive()
    assert set(seen) <= {200, 503}
    assert seen[-1] == 200


def test_a_failed_service_says_so(stack: SupervisedStack) -> None:
    """When nothing will be started any more, a client learns it at once, without a time to come back."""
    stack.write(serving("while_starting: answer", "10ms", "--exit", "78"))
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("a", "failed")
    status, fields, body = get(port)
    assert (status, json.loads(body)["code"]) == (503, "not_running")
    assert "Retry-After" not in fields


def test_waiting_for_another_service_is_told(stack: SupervisedStack) -> None:
    """A service that has never run, as one that it needs is not ready, answers from the first moment."""
    needed = f"  b: {{command: {hostile()}, health: {{notify: true}}}}\n"
    stack.write(serving("while_starting: answer, depends_on: {b: ready}") + needed)
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("a", "waiting")
    status, fields, body = get(port)
    assert (status, fields["Retry-After"]) == (503, "1")
    assert json.loads(body)["message"] == "a waits for another service before it starts"


def test_stopping_answers_instead_of_hanging(stack: SupervisedStack) -> None:
    """While a child takes its time to end, and after it was stopped, nobody waits for nothing."""
    flags = ("--slow-stop", "--ready", "--event-loop")
    stack.write(serving("while_starting: answer, stop: {grace: 20s}", "10ms", *flags))
    port = stack.start()["plan"][0]["port"]
    pid = stack.wait_state("a", "ready")["pid"]
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopping")
    status, _, body = get(port)
    assert (status, json.loads(body)["details"]["state"]) == (503, "stopping")
    stack.wait_state("a", "stopped")
    wait_gone(pid)
    status, fields, body = get(port)
    assert (status, json.loads(body)["code"]) == (503, "not_running")
    assert "Retry-After" not in fields


def test_a_child_that_blocks_finds_sockets_that_block(stack: SupervisedStack) -> None:
    """Sockets are shared with the child: nobody makes them non-blocking while it lives, and none stays so."""
    stack.write(serving("while_starting: answer, stop: {grace: 20s}", "50ms", "--slow-stop", "--ready"))
    port = stack.start()["plan"][0]["port"]
    os.kill(stack.wait_state("a", "ready")["pid"], signal.SIGKILL)
    assert get(port)[0] in (200, 503)
    stack.wait_state("a", "ready", generation=2)
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopping")
    status, _, body = get(port)
    assert (status, json.loads(body)["details"]["state"]) == (503, "stopped")
    log = "\n".join(stack.log("a"))
    assert log.count("sockets block: [True]") == 2
    assert "BlockingIOError" not in log


def test_the_choice_changes_without_a_restart(stack: SupervisedStack) -> None:
    """`while_starting` is the supervisor's own business: the child goes on, and the next gap is met anew."""
    stack.write(serving("while_starting: wait", "30s"))
    port = stack.start()["plan"][0]["port"]
    child = stack.wait_state("a", "ready")
    stack.write(serving("while_starting: answer", "30s"))
    actions = stack.ask("up")["actions"]
    assert [action["action"] for action in actions] == ["update"]
    assert stack.child("a")["pid"] == child["pid"]
    crash(stack)
    assert get(port)[0] == 503


def test_another_supervisor_goes_on_answering(stack: SupervisedStack) -> None:
    """A supervisor that takes over in the middle of a backoff answers from then on."""
    stack.write(serving("while_starting: answer", "30s"))
    port = stack.start()["plan"][0]["port"]
    crash(stack)
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    status, _, body = get(port)
    assert (status, json.loads(body)["details"]["state"]) == (503, "backoff")
    assert stack.child("a")["generation"] == 1
