"""The first minute: bring the stack up, look at it, ask it, take it down."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.stack import Stack

pytestmark = pytest.mark.stack


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Hold a port the way a foreign program would."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield


def test_up_brings_both_servers_to_ready(running: Stack) -> None:
    """`up -d --wait` returns 0 with both services ready on their ports, and `status` agrees."""
    document = running.status()
    assert document["schema"] == "lucid.status/1"
    states = {name: (s["state"], s["port"]) for name, s in document["services"].items()}
    assert states == {
        "memory": ("ready", running.memory_port),
        "inference": ("ready", running.inference_port),
    }


def test_selftest_is_green(running: Stack) -> None:
    """`selftest` passes every check against the running servers."""
    checks = json.loads(running.run("selftest", "--json").stdout)
    assert checks["ok"] is True


def test_up_on_a_running_stack_changes_nothing(running: Stack) -> None:
    """A second `up` exits 0 and leaves every process as it is."""
    before = {name: running.child(name)["pid"] for name in ("memory", "inference")}
    running.run("up", "-d", "--wait")
    assert {name: running.child(name)["pid"] for name in before} == before


def test_down_leaves_no_process(running: Stack) -> None:
    """After `down` returns nothing that the stack started is alive, and `status` says not running."""
    processes = running.processes()
    assert len(processes) >= 3
    running.run("down")
    assert running.wait_gone(processes, 5) == []
    running.run("status", check=3)


def test_down_without_a_stack_is_a_note(stack: Stack) -> None:
    """`down` with nothing running exits 0."""
    assert stack.run("down").stderr


def test_restart_gives_a_new_process_on_the_same_port(running: Stack) -> None:
    """`restart --wait` replaces the process, keeps the port and is not counted as a failure."""
    before = running.child("inference")
    running.run("restart", "inference", "--wait")
    after = running.child("inference")
    assert after["pid"] != before["pid"]
    assert after["generation"] > before["generation"]
    assert after["consecutive_failures"] == 0


def test_stop_and_start_one_service(running: Stack) -> None:
    """`stop` ends one service only; `start` brings it back."""
    memory_pid = running.child("memory")["pid"]
    running.run("stop", "inference", "--wait")
    assert running.status()["services"]["inference"]["state"] == "stopped"
    running.run("start", "inference", "--wait")
    assert running.status()["services"]["inference"]["state"] == "ready"
    assert running.child("memory")["pid"] == memory_pid


def test_a_taken_range_port_falls_back_loudly(stack: Stack) -> None:
    """With the first port of the range taken the next one is used and `up`, `status` and the log say so."""
    with taken(stack.inference_port):
        up = stack.run("up", "-d", "--wait")
        service = stack.status()["services"]["inference"]
        assert service["port"] == stack.inference_port + 1
        assert service["fallback_port"] is True
        assert str(stack.inference_port) in up.stderr
        assert str(stack.inference_port + 1) in stack.run("status").stdout
        assert str(stack.inference_port + 1) in (stack.root / "logs" / "supervisor.log").read_text()
        peers = stack.ask(stack.memory_port, {"type": "stats"})["stats"]["peers"]
        assert peers["inference"].endswith(str(stack.inference_port + 1))


def test_a_taken_fixed_port_names_its_holder(stack: Stack) -> None:
    """With a fixed port taken `up` exits 5, names pid and command, and starts nothing."""
    with taken(stack.memory_port):
        up = stack.run("up", "-d", "--wait", check=5)
        assert "E_PORT_IN_USE" in up.stderr
        assert str(os.getpid()) in up.stderr
        assert psutil.Process().name() in up.stderr
        assert stack.wait_gone(stack.processes(), 5) == []


def test_three_mistakes_are_reported_at_once(stack: Stack) -> None:
    """An unknown key, a bad value and a duplicate key: three located errors, exit 2, nothing starts."""
    stack.config.write_text(
        "project: x\nservices:\n  memory:\n    server: memory\n    prot: 5000\n"
        "  inference:\n    server: inference\n    replicas: many\n    gpu: auto\n    gpu: none\n"
    )
    up = stack.run("up", "-d", check=2)
    for located in ("config.yaml:5:5", "config.yaml:8:15", "config.yaml:10:5"):
        assert located in up.stderr
    assert "did you mean 'port'?" in up.stderr
    assert stack.wait_gone(stack.processes(), 5) == []


def test_a_bad_file_leaves_a_running_stack_alone(running: Stack) -> None:
    """`up` with a broken file on a running stack exits 2 and no process changes."""
    before = {p.pid for p in running.processes()}
    running.config.write_text(running.config.read_text().replace("port:", "prot:", 1))
    running.run("up", "-d", check=2)
    assert {p.pid for p in running.processes()} == before


def test_unknown_service_suggests_the_right_one(running: Stack) -> None:
    """A misspelt service exits 4 with a suggestion."""
    assert "inference" in running.run("restart", "inferense", check=4).stderr


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_real_model_serves_behind_up(tmp_path: object) -> None:
    """With the real model the stack gets ready and the same text is found by meaning."""
    stack = Stack(tmp_path, backend="torch")  # type: ignore[arg-type]  # pytest's tmp_path is a Path
    try:
        stack.run("up", "-d", "--wait", "--timeout", "4m", timeout_s=280)
        vector = stack.ask(stack.inference_port, {"type": "embeddings", "data": {"text": "a cat on a mat"}})
        assert len(vector["embeddings"]) == vector["dimensions"] == 384
        for text in ("The cat sleeps on the sofa.", "Interest rates rose again."):
            stack.ask(stack.memory_port, {"type": "store", "data": {"text": text}})
        found = stack.ask(stack.memory_port, {"type": "retrieve", "data": {"query": "feline", "count": 1}})
        assert "cat" in found["memories"][0]["text"]
    finally:
        stack.close()


def test_modules_of_the_project_are_not_taken_for_ours(stack: Stack) -> None:
    """A package `servers` beside config.yaml stays the project's own."""
    (stack.root / "servers").mkdir()
    (stack.root / "servers" / "__init__.py").write_text("raise SystemExit('this is another package')\n")
    stack.run("up", "-d", "--wait", "--timeout", "60s", "inference")
    assert stack.child("inference")["state"] == "ready"
    stack.run("down")
