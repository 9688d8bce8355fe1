"""A hung child is looked at before it is ended: what the bundle holds, and where its path is told."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import Document, SupervisedStack, hostile

FAST = "health: {period: 100ms, timeout: 300ms, failures: 2}, restart: {backoff: {initial: 10ms}}"
TOKEN = "open-sesame-0123456789"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def hang(stack: SupervisedStack, child: str) -> Document:
    """Stop the child's process, and return its document once the next generation is ready."""
    os.kill(stack.wait_state(child, "ready")["pid"], signal.SIGSTOP)
    return stack.wait_state(child, "ready", generation=2)


GREEN_BUT_DEAD = """
import json, os, pathlib
from websockets.sync.server import serve

def talk(connection):
    for frame in connection:
        kind = json.loads(frame)["type"]
        if kind == "stats" or not pathlib.Path("dead").exists():
            connection.send(json.dumps({"status": "success", "type": kind, "stats": {}}))

serve(talk, "127.0.0.1", int(os.environ["PORT"])).serve_forever()
"""


def test_a_service_that_is_green_but_dead_is_found(stack: SupervisedStack) -> None:
    """`stats` goes on being answered while real work is not: that is unhealthy."""
    (stack.folder / "green.py").write_text(GREEN_BUT_DEAD)
    canary = "canary: {type: work, period: 50ms, timeout: 200ms}"
    health = f"health: {{websocket: stats, period: 50ms, failures: 2, {canary}}}"
    command = f"command: [{sys.executable}, green.py], host: 127.0.0.1, port: auto"
    stack.write(f"  a: {{{command}, {health}, restart: {{policy: never}}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    (stack.folder / "dead").touch()
    failed = stack.wait_state("a", "failed")
    assert (failed["last_exit"]["reason"], failed["generation"]) == ("unhealthy", 1)
    assert "not the canary 'work' within 0.2 s (2 of 2 in a row)" in failed["reason"]
    assert Path(failed["last_exit"]["diagnosis"]).exists()


@pytest.mark.stack
def test_a_hung_server_tells_its_own_stacks(stack: SupervisedStack) -> None:
    """The bundle of a built-in server: its Python stacks, threads, sockets and log, and no token."""
    options = f"options: {{backend: debug, token: {TOKEN}}}"
    stack.write(f"  i: {{server: inference, port: auto, gpu: none, {options}, {FAST}}}\n")
    port = stack.start()["plan"][0]["port"]
    ended = hang(stack, "i")["last_exit"]
    assert ended["reason"] == "unhealthy"
    path = Path(ended["diagnosis"])
    bundle = path.read_text()
    parts = dict(part.split(" ==\n", 1) for part in bundle.split("\n== ")[1:])
    assert "most recent call first" in parts["Python stacks"]
    assert "asyncio" in parts["Python stacks"]
    assert "state T" in parts["processes and threads"]
    assert f":{port}" in parts["open sockets"]
    assert f"listens on port {port}" in parts["last lines of the log"]
    assert TOKEN not in bundle
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_path_is_in_the_events_and_the_cause_is_named(stack: SupervisedStack) -> None:
    """The event of the restart says why in a word, and where to read on."""
    health = "health: {exec: [sh, -c, 'test ! -e hung'], period: 50ms, failures: 2}"
    restart = "restart: {backoff: {initial: 10ms}}"
    stack.write(f"  a: {{command: {hostile()}, {health}, {restart}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    (stack.folder / "hung").touch()
    path = stack.wait_for("a", lambda child: bool(child["last_exit"]))["last_exit"]["diagnosis"]
    (stack.folder / "hung").unlink()
    stack.wait_state("a", "ready", generation=2)
    events = stack.ask("events")["events"]
    told = [(event["to"], event["cause"], event["diagnosis"]) for event in events if event["generation"] == 1]
    assert told[-2:] == [("stopping", "unhealthy", None), ("backoff", "unhealthy", path)]
    assert path in next(event["detail"] for event in events if event["to"] == "backoff")
    assert "not asked: only built-in servers answer" in Path(path).read_text()
    assert json.loads(json.dumps(events)) == events


def test_a_child_is_looked_at_with_py_spy_where_it_is(
    stack: SupervisedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What py-spy prints goes into the bundle; here a stand-in that prints what it is asked."""
    tools = stack.folder / "tools"
    tools.mkdir()
    (tools / "py-spy").write_text("#!/bin/sh\necho asked: $@\n")
    (tools / "py-spy").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    health = "health: {notify: true, startup_budget: 300ms}"
    stack.write(f"  a: {{command: {hostile()}, {health}, restart: {{policy: never}}}}\n")
    stack.start()
    pid = stack.wait_for("a", lambda child: child["pid"] is not None)["pid"]
    ended = stack.wait_state("a", "failed")["last_exit"]
    assert ended["reason"] == "startup_timeout"
    assert f"asked: dump --nonblocking --pid {pid}" in Path(ended["diagnosis"]).read_text()
