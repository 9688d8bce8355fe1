"""Replicas on one port: whoever is free answers, and what happens to one is nothing to clients of others."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.stack import free_ports
from tests.integration.supervised_stack import SupervisedStack, hostile, wait_gone
from tests.integration.test_deaths import left_of
from tests.integration.visitors import Visitors, who_answers

pytestmark = pytest.mark.stack

RHYTHM = (
    "health: {period: 200ms, timeout: 400ms, failures: 2}, stop: {grace: 5s},"
    " restart: {backoff: {initial: 10ms, jitter: 0}}"
)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test, with nothing of it left."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    if stack.process is not None and stack.process.poll() is not None:
        # The guardian was killed, and the supervisor has taken its place.
        guardian = stack.guardian_pid
        os.kill(guardian, signal.SIGTERM)
        wait_gone(guardian)
    stack.close()
    assert left_of(tmp_path) == []


def inference(port: int | str, keys: str = "replicas: 2, port_mode: shared") -> str:
    """Inference servers without a model."""
    settings = "server: inference, gpu: none, options: {backend: debug}"
    return f"  i: {{{settings}, port: {port}, {keys}, {RHYTHM}}}\n"


def started(stack: SupervisedStack, count: int = 2) -> tuple[int, list[int]]:
    """Start replicas on a free port; the port, and their pids once they are ready."""
    (port,) = free_ports(1)
    stack.write(inference(port, f"replicas: {count}, port_mode: shared"))
    stack.start()
    return port, [stack.wait_state(f"i.{number}", "ready")["pid"] for number in range(count)]


def document(stack: SupervisedStack) -> dict[str, Any]:
    """The service as `status` shows it."""
    found: dict[str, Any] = stack.ask("snapshot")["snapshot"]["services"]["i"]
    return found


def addresses(stack: SupervisedStack) -> dict[str, str]:
    """Where each replica is asked alone."""
    return {child["name"]: child["health"]["address"] for child in document(stack)["children"]}


def port_of(address: str) -> int:
    """The number behind the last colon."""
    return int(address.rpartition(":")[2])


def test_all_replicas_answer_on_one_port(stack: SupervisedStack) -> None:
    """Each takes its turn there; each alone is asked at an address of its own, with figures of its own."""
    port, pids = started(stack)
    with Visitors(port) as visitors:
        for pid in pids:
            visitors.wait_answers(pid, 5)
    assert (visitors.refused, visitors.cut) == (0, 0)
    shown = document(stack)
    assert shown["port"] == port
    assert [child["port"] for child in shown["children"]] == [port, port]
    private = [port_of(address) for address in addresses(stack).values()]
    assert [who_answers(one) for one in private] == pids
    assert len({port, *private}) == 3
    for pid, child in zip(pids, shown["children"], strict=True):
        stats = stack.wait_for(child["name"], lambda one: one["health"]["stats"])["health"]["stats"]
        assert stats["pid"] == pid
        assert stats["queue"]["depth"] == 0
        assert stats["requests"]["per_second"] is not None


def test_a_sudden_death_under_load_refuses_nobody(stack: SupervisedStack) -> None:
    """kill -9 of one: only who was with it is cut off, and its successor takes its turn again."""
    port, (one, two) = started(stack)
    with Visitors(port) as visitors:
        visitors.wait_answers(one)
        os.kill(one, signal.SIGKILL)
        visitors.wait_answers(two, 3)
        visitors.wait_answers(stack.wait_state("i.0", "ready", generation=2)["pid"], 3)
    assert visitors.refused == 0
    assert visitors.cut <= 3
    assert stack.child("i.1")["generation"] == 1


def test_a_stopped_replica_is_found_and_replaced_while_the_other_answers(stack: SupervisedStack) -> None:
    """SIGSTOP of one: it is asked alone, so that the answers of the other do not hide it."""
    port, (one, two) = started(stack)
    os.kill(one, signal.SIGSTOP)
    # Nobody comes to wait in the queue of the one that does not accept.
    assert {who_answers(port) for _ in range(10)} == {two}
    ended = stack.wait_for("i.0", lambda child: child["last_exit"] is not None)
    assert ended["last_exit"]["reason"] == "unhealthy"
    successor = stack.wait_state("i.0", "ready", generation=2)["pid"]
    with Visitors(port) as visitors:
        visitors.wait_answers(successor)
        visitors.wait_answers(two)
    assert (visitors.refused, visitors.cut) == (0, 0)
    assert stack.child("i.1")["generation"] == 1


def test_a_replica_that_loads_takes_no_client_from_the_others(stack: SupervisedStack) -> None:
    """Through a rolling restart under load every client meets a replica that is ready."""
    port, pids = started(stack)
    with Visitors(port) as visitors:
        for pid in pids:
            visitors.wait_answers(pid)
        assert stack.ask("restart", services=["i"])["status"] == "success"
        fresh = [stack.wait_state(name, "ready", generation=2)["pid"] for name in ("i.0", "i.1")]
        for pid in fresh:
            visitors.wait_answers(pid)
    assert (visitors.refused, visitors.cut) == (0, 0)
    assert set(visitors.answered) == {*pids, *fresh}


def test_scaling_up_and_down_restarts_nobody(stack: SupervisedStack) -> None:
    """2, 3, 1: the first goes on with its process and its address, and nobody is refused."""
    port, (one, _) = started(stack)
    before = addresses(stack)["i.0"]
    with Visitors(port) as visitors:
        stack.ask("scale", service="i", replicas=3)
        visitors.wait_answers(stack.wait_state("i.2", "ready")["pid"])
        stack.ask("scale", service="i", replicas=1)
        stack.wait_for("i", lambda _: len(document(stack)["children"]) == 1)
        visitors.wait_answers(one)
    assert (visitors.refused, visitors.cut) == (0, 0)
    assert (stack.child("i")["pid"], stack.child("i")["generation"]) == (one, 1)
    assert addresses(stack) == {"i": before}
    assert stack.ask("scale", service="i", replicas=2)["status"] == "success"
    stack.wait_state("i.1", "ready")
    assert addresses(stack)["i.0"] == before


def test_from_a_port_each_to_one_and_back(stack: SupervisedStack) -> None:
    """A change of the file, applied to the running stack: the first port is never closed."""
    first, second, *_ = free_ports(3)
    stack.write(inference(f"{first}-{second}", "replicas: 2"))
    stack.start()
    for name in ("i.0", "i.1"):
        stack.wait_state(name, "ready")
    assert [child["port"] for child in document(stack)["children"]] == [first, second]
    for generation, (keys, ports) in enumerate(
        [("replicas: 2, port_mode: shared", [first, first]), ("replicas: 2", [first, second])], start=2
    ):
        with Visitors(first) as visitors:
            stack.write(inference(f"{first}-{second}", keys))
            (action,) = stack.ask("up")["actions"]
            assert (action["action"], action["reason"]) == ("restart", "port_mode changed")
            pids = [stack.wait_state(name, "ready", generation)["pid"] for name in ("i.0", "i.1")]
            visitors.wait_answers(pids[0])
        assert visitors.refused == 0
        assert [child["port"] for child in document(stack)["children"]] == ports
        assert {who_answers(port) for port in ports} <= set(pids)
    assert [who_answers(port) for port in (first, second)] == pids


@pytest.mark.parametrize("whom", ["supervisor", "guardian"])
def test_another_supervisor_goes_on_with_shared_sockets(stack: SupervisedStack, whom: str) -> None:
    """Killed under load: the port, the private addresses and the probes on them are as before."""
    port, pids = started(stack)
    before = addresses(stack)
    victim = stack.supervisor_pid if whom == "supervisor" else stack.guardian_pid
    generation = 1 if whom == "supervisor" else 2
    with Visitors(port) as visitors:
        os.kill(victim, signal.SIGKILL)
        wait_gone(victim)
        now = [stack.wait_state(name, "ready", generation)["pid"] for name in ("i.0", "i.1")]
        os.kill(now[1], signal.SIGSTOP)
        stack.wait_state("i.1", "ready", generation + 1)
        visitors.wait_answers(now[0])
    assert visitors.refused == 0
    assert addresses(stack) == before
    assert (now == pids) is (whom == "supervisor")
    assert stack.child("i.0")["generation"] == generation


def test_while_none_accepts_clients_hear_it_once(stack: SupervisedStack) -> None:
    """`while_starting: answer`: 503 only while no replica is there; with one ready, nobody hears that."""
    (port,) = free_ports(1)
    slow = RHYTHM.replace("initial: 10ms", "initial: 30s")
    keys = "replicas: 2, port_mode: shared, while_starting: answer"
    stack.write(inference(port, keys).replace(RHYTHM, slow))
    stack.start()
    one, two = (stack.wait_state(name, "ready")["pid"] for name in ("i.0", "i.1"))
    os.kill(one, signal.SIGKILL)
    stack.wait_state("i.0", "backoff")
    assert {who_answers(port) for _ in range(5)} == {two}
    os.kill(two, signal.SIGKILL)
    stack.wait_state("i.1", "backoff")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}", proxy=None)
    body = refused.value.response.body
    assert (refused.value.response.status_code, json.loads(body or b"")["code"]) == (503, "starting")
    stack.ask("stop", services=["i"])
    stack.wait_state("i.1", "stopped")
    stack.ask("start", services=["i"])
    successors = {stack.wait_state(name, "ready", 2)["pid"] for name in ("i.0", "i.1")}
    assert {who_answers(port) for _ in range(10)} <= successors


def test_any_command_can_share_its_port(stack: SupervisedStack) -> None:
    """It is told which sockets are everybody's and which is its own, and where that is."""
    (port,) = free_ports(1)
    command = hostile("--serve", "--event-loop", "--print-environment")
    health = "health: {http: /, period: 100ms, timeout: 400ms, failures: 2}"
    stack.write(
        f"  a: {{command: {command}, port: {port}, host: 127.0.0.1, inherit_sockets: true, replicas: 2,"
        f" port_mode: shared, {health}, restart: {{backoff: {{initial: 10ms}}}}}}\n"
    )
    stack.start()
    for name in ("a.0", "a.1"):
        child = stack.wait_state(name, "ready")
        private = port_of(child["health"]["address"])
        lines = [line.partition("| ")[2] for line in stack.log(name)]
        assert "env LISTEN_FDNAMES=a:a.private" in lines
        assert f"env LUCID_PRIVATE_PORT={private}" in lines
        assert f"env PORT={port}" in lines
        assert "sockets block: [False, False]" in lines
        assert fetch(private) == name
    assert {fetch(port) for _ in range(50)} <= {"a.0", "a.1"}
    os.kill(stack.child("a.0")["pid"], signal.SIGSTOP)
    assert {fetch(port) for _ in range(10)} == {"a.1"}
    stack.wait_state("a.0", "ready", generation=2)


def fetch(port: int) -> str:
    """Which child answers a GET on a new connection."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return str(answer.headers["Child"])
