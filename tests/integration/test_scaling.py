"""More and fewer replicas, one after another, and who restarts with whom; with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import free_ports
from tests.integration.supervised_stack import SupervisedStack, hostile, is_alive, wait_gone

FAST = "restart: {backoff: {initial: 10ms}, max_failures: 2}"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def verb(stack: SupervisedStack, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one verb of the command line to its end."""
    argv = [sys.executable, "-m", "launcher", "-f", str(stack.config), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def ports(stack: SupervisedStack, service: str) -> dict[str, int]:
    """Child -> port."""
    children = stack.ask("snapshot")["snapshot"]["services"][service]["children"]
    return {child["name"]: child["port"] for child in children}


def test_scaling_restarts_nobody(stack: SupervisedStack) -> None:
    """One becomes three and one again: the first keeps its process, port and log, the others come and go."""
    first, *_, last = free_ports(3)
    health = "health: {http: /, period: 50ms}"
    serve = f"command: {hostile('--say', 'hello', '--serve')}, inherit_sockets: true, {health}"
    stack.write(f"  a: {{{serve}, port: {first}-{last}, host: 127.0.0.1}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    done = verb(stack, "scale", "a=3", "--wait", "--timeout", "30s")
    assert (done.returncode, "a: 3 replicas" in done.stderr) == (0, True), done.stderr
    assert ports(stack, "a") == {"a.0": first, "a.1": first + 1, "a.2": first + 2}
    assert (stack.child("a.0")["pid"], stack.child("a.0")["generation"]) == (pid, 1)
    assert any(line.endswith("stdout | hello") for line in stack.log("a.0"))
    others = [stack.child(name)["pid"] for name in ("a.1", "a.2")]
    assert stack.ask("scale", service="a", replicas=1)["status"] == "success"
    for other in others:
        wait_gone(other)
    assert stack.wait_state("a", "ready")["pid"] == pid
    stack.wait_for("a", lambda _: ports(stack, "a") == {"a": first})
    assert [action["action"] for action in stack.ask("up")["actions"]] == ["keep"]
    os.kill(pid, signal.SIGKILL)
    assert stack.wait_state("a", "ready", generation=2)["name"] == "a"


def test_a_restart_keeps_the_scale_and_up_goes_by_the_file(stack: SupervisedStack) -> None:
    """What was scaled stays so until the file is asked."""
    stack.write(f"  a: {{command: {hostile()}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    stack.ask("scale", service="a", replicas=2)
    stack.wait_state("a.1", "ready")
    stack.ask("restart", services=["a"])
    stack.wait_state("a.1", "ready", generation=2)
    assert stack.wait_state("a.0", "ready", generation=2)
    (action,) = stack.ask("up")["actions"]
    assert (action["action"], action["reason"]) == ("update", "replicas changed; no restart is needed")
    stack.wait_state("a", "ready")


@pytest.mark.parametrize(
    ("keys", "request_", "code"),
    [
        ("port: 9, inherit_sockets: false", {"service": "a", "replicas": 2}, "E_CONFIG"),
        ("", {"service": "a", "replicas": 0}, "invalid_request"),
        ("", {"service": "a", "replicas": True}, "invalid_request"),
        ("", {"service": "b", "replicas": 1}, "E_NO_SUCH_SERVICE"),
        ("", {"replicas": 1}, "invalid_request"),
    ],
)
def test_a_scale_that_cannot_be_is_refused(
    stack: SupervisedStack, keys: str, request_: dict[str, object], code: str
) -> None:
    """Two cannot share a port; the one that runs goes on."""
    port = keys.replace("port: 9", f"port: {free_ports(1)[0]}")
    stack.write(f"  a: {{command: {hostile()}{', ' if port else ''}{port}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    reply = stack.ask("scale", **request_)
    assert (reply["status"], reply["code"]) == ("error", code)
    assert stack.child("a")["pid"] == pid


@pytest.mark.parametrize("word", ["a", "a=", "a=x", "a=0", "=2", "a=-1"])
def test_the_verb_says_how_it_is_written(stack: SupervisedStack, word: str) -> None:
    """A usage error, exit 2, before anything is asked."""
    done = verb(stack, "scale", word)
    assert (done.returncode, "is not SVC=N" in done.stderr) == (2, True)


def test_a_rolling_restart_ends_at_the_first_that_fails(stack: SupervisedStack) -> None:
    """The others go on with what they had, status says where it ended, and `plan` sees the difference."""
    stack.write(f"  a: {{command: {hostile('--ready')}, replicas: 3, health: {{notify: true}}, {FAST}}}\n")
    stack.start()
    kept = [stack.wait_state(f"a.{n}", "ready")["pid"] for n in range(3)]
    stack.write(
        f"  a: {{command: {hostile('--exit', '1')}, replicas: 3, health: {{notify: true}}, {FAST}}}\n"
    )
    assert stack.ask("up")["actions"][0]["action"] == "restart"
    stack.wait_state("a.0", "failed")
    assert [stack.wait_state(f"a.{n}", "ready")["pid"] for n in (1, 2)] == kept[1:]
    service = stack.ask("snapshot")["snapshot"]["services"]["a"]
    assert any("rolling restart ended at a.0" in note for note in service["notes"])
    stack.write(f"  a: {{command: {hostile('--ready')}, replicas: 3, health: {{notify: true}}, {FAST}}}\n")
    stack.ask("up")
    stack.wait_state("a.0", "ready")
    assert [stack.child(f"a.{n}")["pid"] for n in (1, 2)] == kept[1:]


def test_plan_sees_what_has_changed_in_a_running_stack(stack: SupervisedStack) -> None:
    """Without asking the supervisor to do anything: the digests in its status are enough."""
    stack.write(
        f"  a: {{command: {hostile()}}}\n  b: {{command: {hostile()}}}\n  c: {{command: {hostile()}}}\n"
    )
    stack.start()
    pids = [stack.wait_state(name, "ready")["pid"] for name in "abc"]
    stack.write(
        f"  a: {{command: {hostile()}, env: {{X: '1'}}}}\n"
        f"  b: {{command: {hostile()}, stop: {{grace: 3s}}}}\n"
        f"  c: {{command: {hostile()}}}\n  d: {{command: {hostile()}}}\n"
    )
    done = verb(stack, "plan", "--json")
    actions = {each["service"]: each["action"] for each in json.loads(done.stdout)["actions"]}
    assert actions == {"a": "restart", "b": "update", "c": "keep", "d": "start"}
    assert [stack.child(name)["pid"] for name in "abc"] == pids


def test_a_dependent_restarts_with_what_it_needs_where_asked(stack: SupervisedStack) -> None:
    """`restart: true`: a crash of what is needed is followed by one restart of the dependent, no other's."""
    health = "health: {notify: true}"
    follows = "depends_on: {a: {condition: ready, restart: true}}"
    stack.write(
        f"  a: {{command: {hostile('--ready')}, {health}, {FAST}}}\n"
        f"  b: {{command: {hostile()}, {follows}}}\n"
        f"  c: {{command: {hostile()}, depends_on: {{a: ready}}}}\n"
    )
    stack.start()
    alone = stack.wait_state("c", "ready")["pid"]
    stack.wait_state("b", "ready")
    os.kill(stack.child("a")["pid"], signal.SIGKILL)
    again = stack.wait_state("b", "ready", generation=2)
    assert (again["restarts"], again["consecutive_failures"]) == (0, 0)
    stack.ask("restart", services=["a"])
    stack.wait_state("b", "ready", generation=3)
    assert is_alive(alone)
    assert stack.child("c")["generation"] == 1
