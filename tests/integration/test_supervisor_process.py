"""The supervisor process itself: its deaths, its control socket, its file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile, is_alive

TWO = f"  a: {{command: {hostile()}}}\n  b: {{command: {hostile()}, depends_on: {{a: ready}}}}\n"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def transitions(stack: SupervisedStack) -> list[tuple[str, str]]:
    """(child, new state) of every event so far."""
    return [(event["child"], event["to"]) for event in stack.ask("events")["events"]]


def test_starts_in_order_and_stops_in_reverse(stack: SupervisedStack) -> None:
    """A dependent starts after what it needs is ready, and stops before it."""
    stack.write(TWO)
    stack.start()
    stack.wait_state("b", "ready")
    seen = transitions(stack)
    assert seen.index(("a", "ready")) < seen.index(("b", "starting"))
    assert stack.process is not None
    stack.process.send_signal(signal.SIGTERM)
    assert stack.wait_end() == 0
    output = stack.output()
    assert output.index("b stopped: ") < output.index("a stopping: ")
    assert not stack.socket.exists()


def test_down_answers_and_ends(stack: SupervisedStack) -> None:
    """`down` is accepted, everything stops, the supervisor exits with 0."""
    stack.write(TWO)
    stack.start()
    stack.wait_state("b", "ready")
    assert stack.ask("down")["status"] == "success"
    assert stack.wait_end() == 0


def test_second_signal_does_not_wait(stack: SupervisedStack) -> None:
    """A second SIGINT kills what ignores the first."""
    stack.write(
        f"  a: {{command: {hostile('--ignore-term', '--ready')}, health: {{notify: true}},"
        " stop: {grace: 1h}}\n"
    )
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    assert stack.process is not None
    stack.process.send_signal(signal.SIGINT)
    stack.wait_state("a", "stopping")
    stack.process.send_signal(signal.SIGINT)
    assert stack.wait_end() == 0
    assert not is_alive(pid)


def test_up_changes_only_what_changed(stack: SupervisedStack) -> None:
    """One changed service restarts, a new one starts, a gone one stops, the rest keeps its pid."""
    stack.write(
        f"  a: {{command: {hostile()}}}\n  b: {{command: {hostile()}}}\n  c: {{command: {hostile()}}}\n"
    )
    stack.start()
    kept = stack.wait_state("a", "ready")["pid"]
    stack.wait_state("b", "ready")
    stack.wait_state("c", "ready")
    stack.write(
        f"  a: {{command: {hostile()}, stop: {{grace: 3s}}}}\n"
        f"  b: {{command: {hostile()}, env: {{X: '1'}}}}\n"
        f"  d: {{command: {hostile()}}}\n"
    )
    reply = stack.ask("up")
    done = {action["service"]: action["action"] for action in reply["actions"]}
    assert done == {"a": "update", "b": "restart", "c": "stop", "d": "start"}
    assert stack.wait_state("b", "ready", generation=2)["restarts"] == 0
    stack.wait_state("d", "ready")
    assert stack.child("a")["pid"] == kept
    assert {action["action"] for action in stack.ask("up")["actions"]} == {"keep"}
    assert "c" not in stack.ask("snapshot")["snapshot"]["services"]


def test_bad_file_changes_nothing(stack: SupervisedStack) -> None:
    """An edit that makes no sense is answered with its place, and the running stack is untouched."""
    stack.write(TWO)
    stack.start()
    before = stack.wait_state("b", "ready")["pid"]
    stack.config.write_text("services: {a: {commnd: [x]}}")
    for kind in ("up", "restart"):
        reply = stack.ask(kind, services=["a"])
        assert (reply["status"], reply["code"], reply["exit_code"]) == ("error", "E_CONFIG", 2)
        assert "config.yaml:1:" in reply["message"]
    assert stack.process is not None
    stack.process.send_signal(signal.SIGHUP)
    assert stack.child("b")["pid"] == before
    assert stack.ask("stop", services=["b"])["status"] == "success"
    stack.wait_state("b", "stopped")


def test_restart_reads_the_file_again(stack: SupervisedStack) -> None:
    """A restart is a new generation with the settings of now, and is not charged."""
    health = "health: {notify: true}"
    stack.write(f"  a: {{command: {hostile('--ready')}, {health}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    stack.write(f"  a: {{command: {hostile('--say', 'new words', '--ready')}, {health}}}\n")
    stack.ask("restart", services=["a"])
    again = stack.wait_state("a", "ready", generation=2)
    assert (again["restarts"], again["consecutive_failures"]) == (0, 0)
    assert any(line.endswith("stdout | new words") for line in stack.log("a"))


def test_replicas_restart_one_after_another(stack: SupervisedStack) -> None:
    """With several children a restart never takes both away at once."""
    stack.write(f"  a: {{command: {hostile()}, replicas: 2}}\n")
    stack.start()
    stack.wait_state("a.0", "ready")
    stack.wait_state("a.1", "ready")
    stack.ask("restart", services=["a"])
    stack.wait_state("a.1", "ready", generation=2)
    seen = transitions(stack)
    assert seen.index(("a.1", "stopping")) > len(seen) - 1 - seen[::-1].index(("a.0", "ready"))


def test_hangup_takes_the_file_over(stack: SupervisedStack) -> None:
    """SIGHUP reconciles: more replicas mean new children, and the one that runs goes on as the first."""
    stack.write(f"  a: {{command: {hostile()}}}\n")
    stack.start()
    single = stack.wait_state("a", "ready")["pid"]
    stack.write(f"  a: {{command: {hostile()}, replicas: 2}}\n")
    assert stack.process is not None
    stack.process.send_signal(signal.SIGHUP)
    stack.wait_state("a.1", "ready")
    assert stack.wait_state("a.0", "ready")["pid"] == single
    assert stack.child("a") == {}


def test_restart_leaves_what_it_needs_alone(stack: SupervisedStack) -> None:
    """A restart of a dependent neither starts nor restarts what it depends on."""
    stack.write(TWO)
    stack.start()
    stack.wait_state("b", "ready")
    needed = stack.child("a")["pid"]
    stack.write(TWO.replace("}\n  b", ", env: {X: '1'}}\n  b"))
    stack.ask("restart", services=["b"])
    stack.wait_state("b", "ready", generation=2)
    assert stack.child("a")["pid"] == needed


def test_broken_env_file_fails_the_spawn_only(stack: SupervisedStack) -> None:
    """What cannot be an environment is told as a failed spawn, and the supervisor lives on."""
    env_file = stack.folder / "a.env"
    env_file.write_text("A=1\n")
    restart = "restart: {backoff: {initial: 10ms}, max_failures: 2}"
    stack.write(f"  a: {{command: {hostile()}, env_file: a.env, {restart}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    env_file.write_bytes(b"A=\xff\x00\n")
    os.kill(pid, signal.SIGKILL)
    failed = stack.wait_state("a", "failed")
    assert failed["last_exit"]["reason"] == "spawn_failed"
    assert "cannot start" in failed["reason"]


def test_second_supervisor_is_refused(stack: SupervisedStack) -> None:
    """The report of a second start names the owner."""
    stack.write(TWO)
    stack.start()
    first = stack.process
    assert first is not None
    error = stack.start()["error"]
    assert (error["code"], error["exit_code"]) == ("E_RUNNING", 5)
    assert error["details"]["owner_pid"] == first.pid
    assert stack.wait_end() == 5
    stack.process = first


def test_file_with_errors_is_reported(stack: SupervisedStack) -> None:
    """A start with a bad file reports the error document and exits with its code."""
    stack.config.write_text("services: {a: {commnd: [x]}}")
    error = stack.start()["error"]
    assert (error["code"], error["exit_code"]) == ("E_CONFIG", 2)
    assert stack.wait_end() == 2


def test_ends_with_no_file_descriptor_or_process_left(stack: SupervisedStack) -> None:
    """Ten restarts later supervisor and guardian hold as many descriptors as after the first."""
    stack.write(f"  a: {{command: {hostile()}}}\n")
    pids = [stack.start()["pid"], stack.guardian_pid]
    stack.wait_state("a", "ready")
    stack.ask("restart", services=["a"])
    stack.wait_state("a", "ready", generation=2)
    before = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    for generation in range(3, 13):
        stack.ask("restart", services=["a"])
        stack.wait_state("a", "ready", generation=generation)
    after = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    assert all(abs(now - then) <= 2 for now, then in zip(after, before, strict=True))
