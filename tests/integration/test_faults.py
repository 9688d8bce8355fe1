"""What is killed, stopped or hung comes back without help and without a refused client."""

import contextlib
import json
import os
import signal
import threading

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.stack import Stack, exchange

pytestmark = pytest.mark.stack

SAVED = 1000


class Reconnecting:
    """A client that asks and reconnects until told to stop, counting every connection that was refused."""

    def __init__(self, stack: Stack, port: int) -> None:
        self._stack, self._port = stack, port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask_until_done, name="reconnecting client")
        self.refused = 0
        self.answered = 0

    def __enter__(self) -> "Reconnecting":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _ask_until_done(self) -> None:
        while not self._done.is_set():
            try:
                self._stack.ask(self._port, {"type": "stats"})
                self.answered += 1
            except ConnectionRefusedError:
                self.refused += 1
            except (ConnectionClosed, ConnectionError, TimeoutError, EOFError):
                continue  # a connection that the killed process had accepted: reconnect


def test_a_killed_child_returns_and_no_client_is_refused(running: Stack) -> None:
    """After kill -9 the child is ready again as a new generation; a reconnecting client was never refused."""
    before = running.child("inference")
    with Reconnecting(running, running.inference_port) as client:
        running.kill(before["pid"])
        running.run("wait", "inference", "--timeout", "30s")
        after = running.child("inference")
    assert after["generation"] == before["generation"] + 1
    assert after["restarts"] == 1
    assert after["last_exit"]["signal"] in (9, "SIGKILL")
    assert client.refused == 0
    assert client.answered > 0


def test_a_hung_child_is_found_killed_and_replaced(running: Stack) -> None:
    """A stopped child answers no ping: it is killed as unhealthy and a new one gets ready."""
    before = running.child("inference")
    process = psutil.Process(before["pid"])
    running.kill(before["pid"], signal.SIGSTOP)
    process.wait(30)
    running.run("wait", "inference", "--timeout", "30s")
    after = running.child("inference")
    assert after["pid"] != before["pid"]
    assert after["last_exit"]["reason"] == "unhealthy"


def test_acknowledged_memories_survive_kill(running: Stack) -> None:
    """A thousand acknowledged stores are all there after the memory server was killed."""
    with running.connect(running.memory_port) as connection:
        for number in range(SAVED):
            connection.send(json.dumps({"type": "store", "data": {"text": f"fact {number} of the ledger"}}))
        stored = [json.loads(connection.recv(timeout=60)) for _ in range(SAVED)]
    assert {reply["status"] for reply in stored} == {"success"}
    running.kill(running.child("memory")["pid"])
    running.run("wait", "memory", "--timeout", "30s")
    found = running.ask(running.memory_port, {"type": "retrieve", "data": {"count": SAVED}}, max_size=2**26)
    assert {m["id"] for m in found["memories"]} == {reply["id"] for reply in stored}
    assert {m["text"] for m in found["memories"]} == {
        f"fact {number} of the ledger" for number in range(SAVED)
    }


def test_a_killed_supervisor_takes_nothing_along(running: Stack) -> None:
    """kill -9 of the supervisor: children serve on, another one answers `status`, nobody is refused."""
    before = running.status()
    with Reconnecting(running, running.memory_port) as client:
        running.kill(before["supervisor"]["pid"])
        after = running.status()
    assert after["supervisor"]["pid"] != before["supervisor"]["pid"]
    assert after["supervisor"]["guardian_pid"] == before["supervisor"]["guardian_pid"]
    for service, document in before["services"].items():
        then, now = document["children"][0], after["services"][service]["children"][0]
        assert (now["pid"], now["generation"]) == (then["pid"], then["generation"])
        assert now["state"] == "ready"
    for port in (running.memory_port, running.inference_port) * 3:  # one after the other, on new connections
        assert running.ask(port, {"type": "stats"})["status"] == "success"
    assert client.refused == 0
    assert client.answered > 0


def test_nothing_is_left_of_a_stack_whose_heads_are_killed(running: Stack) -> None:
    """kill -9 of supervisor and guardian leaves nothing after 2 s; the next `up` says what it found."""
    document = running.status()
    left = [process for process in running.processes() if process.pid != os.getpid()]
    heads = [document["supervisor"]["guardian_pid"], document["supervisor"]["pid"]]
    assert {process.pid for process in left} >= set(heads)
    for pid in heads:
        os.kill(pid, signal.SIGKILL)
    assert running.wait_gone(left, 2) == []
    up = running.run("up", "-d", "--wait")
    assert str(heads[0]) in up.stderr
    assert {s["state"] for s in running.status()["services"].values()} == {"ready"}


@pytest.mark.parametrize("probe", ["notify: true", "period: 2s"], ids=["probed", "not probed"])
def test_a_crash_loop_is_given_up_and_explained(stack: Stack, probe: str) -> None:
    """A command that always fails ends as failed, with its last words in `status` and exit code 1.

    It was never ready on the way, whether or not there is a probe that could have said so.
    """
    stack.config.write_text(
        "project: loop\nservices:\n  broken:\n    command: [sh, -c, 'echo no disk found >&2; exit 3']\n"
        "    restart: {backoff: {initial: 20ms, max: 50ms}, max_failures: 3}\n"
        f"    health: {{{probe}}}\n"
    )
    up = stack.run("up", "-d", "--wait", check=1)
    assert "no disk found" in up.stderr
    status = stack.run("status", check=1)
    assert "failed" in status.stdout
    assert "no disk found" in status.stdout + status.stderr
    assert stack.child("broken")["last_exit"]["code"] == 3
    events = [json.loads(line) for line in stack.run("events", "--json").stdout.splitlines()]
    assert [event["to"] for event in events] == ["starting", "backoff"] * 2 + ["starting", "failed"]


def test_logs_hold_every_line_to_the_last(stack: Stack) -> None:
    """What a service printed right before it died is in its log, in order and complete."""
    stack.config.write_text(
        "project: chatty\nservices:\n  chatty:\n    command: [sh, -c, 'seq 1 5000; echo the last word >&2']\n"
        "    restart: {policy: never}\n"
    )
    stack.run("up", "-d")
    stack.run("wait", "chatty", "--for", "stopped", "--timeout", "30s")
    lines = stack.run("logs", "chatty", "-n", "6000", "-o", "raw").stdout.splitlines()
    assert [line for line in lines if line.isdigit()] == [str(n) for n in range(1, 5001)]
    assert "the last word" in lines


def test_one_connection_gets_its_replies_in_order(running: Stack) -> None:
    """A hundred requests sent at once are answered one each, in their order, the bad ones included."""
    with running.connect(running.inference_port) as connection:
        for number in range(100):
            kind = ("embeddings", "stats", "nonsense")[number % 3]
            connection.send(json.dumps({"type": kind, "id": number, "data": {"text": "x " * number + "y"}}))
        replies = [json.loads(connection.recv(timeout=30)) for _ in range(100)]
    assert [reply["id"] for reply in replies] == list(range(100))
    assert {reply["status"] for reply in replies[2::3]} == {"error"}


def test_the_seed_examples_over_every_kind_of_client(running: Stack) -> None:
    """Store, retrieve, embeddings, process and stats answer on `/` and `/ws`, with and without an Origin."""
    asked = {
        running.memory_port: [
            {"type": "store", "data": {"text": "a seed", "metadata": {"type": "note"}}},
            {"type": "retrieve", "data": {"count": 5, "min_significance": 0.0}},
            {"type": "stats", "data": {}},
        ],
        running.inference_port: [
            {"type": "embeddings", "data": {"text": "a seed"}},
            {"type": "process", "data": {"text": "a seed", "context": ["soil", "rain"]}},
            {"type": "stats", "data": {}},
        ],
    }
    for port, requests in asked.items():
        for path in ("/", "/ws"):
            for origin in (None, "http://localhost:8081", "null"):
                with running.connect(port, path=path, origin=origin) as connection:
                    for request in requests:
                        reply = exchange(connection, request)
                        refused = origin == "null" and request["type"] != "stats"
                        assert reply["status"] == ("error" if refused else "success"), (
                            origin,
                            request,
                            reply,
                        )
                        assert reply.get("code") == ("origin_null" if refused else None)


def test_a_foreign_page_is_refused(running: Stack) -> None:
    """A WebSocket from another site's page does not open."""
    from websockets.exceptions import InvalidStatus

    with (
        pytest.raises(InvalidStatus) as refused,
        running.connect(running.memory_port, origin="https://evil.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_client_closing_midway_harms_nobody(running: Stack) -> None:
    """Clients that vanish with requests in flight leave the server ready and its queue empty."""
    for _ in range(20):
        with contextlib.suppress(ConnectionClosed), running.connect(running.inference_port) as connection:
            connection.send(json.dumps({"type": "embeddings", "data": {"text": ["gone"] * 64}}))
            connection.socket.shutdown(2)
    stats = running.ask(running.inference_port, {"type": "stats"})["stats"]
    assert stats["queue"]["depth"] == 0
