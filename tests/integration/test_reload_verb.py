"""The verb `reload` on a real stack: the file read again, the supervisor replaced under running services."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.integration.supervised_stack import Document, SupervisedStack, hostile, is_alive
from tests.integration.test_deaths import SERVING, Client

pytestmark = pytest.mark.stack

LINES = 100_000


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def reload(stack: SupervisedStack, *flags: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `lucid-launch reload` in the stack's folder."""
    argv = [sys.executable, "-m", "launcher", "-C", str(stack.folder), "reload", *flags]
    environ = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


def counters(metrics: str, name: str) -> dict[str, float]:
    """The samples of one metric by their labels."""
    return {labels: float(value) for labels, value in re.findall(rf"^{name}({{.*?}}) (\S+)$", metrics, re.M)}


def test_services_and_clients_do_not_notice(stack: SupervisedStack) -> None:
    """--self: another supervisor answers, children are the same processes, nobody is refused."""
    flood = f"  f: {{command: {hostile('--flood', str(LINES), '--ready')}, health: {{notify: true}}}}\n"
    stack.write(SERVING + flood)
    port = stack.start()["plan"][0]["port"]
    before = stack.wait_state("a", "ready")
    flooding = stack.wait_for("f", lambda child: child["pid"] is not None)
    supervisor = stack.supervisor_pid
    with Client(port) as client:
        replaced = json.loads(reload(stack, "--self", "--json").stdout)["replaced"]
        second = json.loads(reload(stack, "--self", "--json").stdout)["replaced"]
        answered = client.answered
    assert replaced["before"]["pid"] == supervisor
    assert replaced["after"] == second["before"]
    assert second["after"]["pid"] == stack.supervisor_pid
    assert (replaced["children"], second["children"]) == (2, 2)
    assert max(replaced["took_s"], second["took_s"]) < 10
    assert not is_alive(supervisor)
    after = stack.wait_state("a", "ready")
    assert (after["pid"], after["generation"], after["restarts"]) == (before["pid"], 1, 0)
    assert client.refused == 0
    assert answered > 0
    assert stack.wait_state("f", "ready")["pid"] == flooding["pid"]
    assert numbers(stack) == list(range(LINES))


def numbers(stack: SupervisedStack) -> list[int]:
    """The numbers of all lines that the flood left in its logs, oldest first."""
    logs = stack.folder / "logs"
    rotated = sorted(logs.glob("f.log.*"), key=lambda path: -int(path.suffix[1:]))
    texts = [path.read_text() for path in [*rotated, logs / "f.log"]]
    return [int(number) for text in texts for number in re.findall(r"stdout \| line (\d{8}) ", text)]


def test_the_file_is_read_again(stack: SupervisedStack) -> None:
    """reload: only what changed restarts, and it is said; a second time there is nothing to do."""
    other = f"  b: {{command: {hostile('--ready')}, health: {{notify: true}}, env: {{A: '1'}}}}\n"
    stack.write(SERVING + other)
    stack.start()
    before = {name: stack.wait_state(name, "ready")["pid"] for name in ("a", "b")}
    stack.write(SERVING + other.replace("'1'", "'2'"))
    assert "restart b: " in reload(stack).stderr
    assert stack.wait_state("b", "ready", generation=2)["pid"] != before["b"]
    assert stack.child("a")["pid"] == before["a"]
    assert "nothing to change" in reload(stack).stderr


def test_a_bad_file_changes_nothing(stack: SupervisedStack) -> None:
    """The mistakes are printed with their places, exit 2, and everything goes on."""
    stack.write(SERVING)
    stack.start()
    before = stack.wait_state("a", "ready")["pid"]
    stack.config.write_text("services:\n  a: {commnd: [x]}\n")
    done = reload(stack, code=2)
    assert "config.yaml:2:7: services.a.commnd: unknown key; did you mean 'command'?" in done.stderr
    assert stack.child("a")["pid"] == before


def test_what_was_counted_is_not_forgotten(stack: SupervisedStack) -> None:
    """Restarts by cause, downtime and times to ready go on where they were, through reload and kill -9."""
    stack.write(SERVING)
    stack.start()
    os.kill(stack.wait_state("a", "ready")["pid"], signal.SIGKILL)
    stack.wait_state("a", "ready", generation=2)
    before = metrics_of(stack)
    reload(stack, "--self")
    assert metrics_of(stack) == before
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGKILL)
    stack.wait_state("a", "ready")
    assert metrics_of(stack) == before
    os.kill(stack.child("a")["pid"], signal.SIGKILL)
    stack.wait_state("a", "ready", generation=3)
    restarts = metrics_of(stack)["lucid_child_restarts_total"]
    assert restarts == {'{service="a",child="a",cause="killed"}': 2.0}


def metrics_of(stack: SupervisedStack) -> dict[str, dict[str, float]]:
    """The totals that must not go back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(stack.socket))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    names = (
        "lucid_child_restarts_total",
        "lucid_child_downtime_seconds_total",
        "lucid_child_ready_seconds_count",
        "lucid_child_exits_total",
    )
    found = {name: counters(text, name) for name in names}
    assert all(found.values()), text
    return found


def test_whoever_follows_goes_on(stack: SupervisedStack) -> None:
    """`events -f` hears of everything once, through a supervisor that is replaced and one that is killed."""
    stack.write(SERVING)
    stack.start()
    stack.wait_state("a", "ready")
    argv = [sys.executable, "-m", "launcher", "-C", str(stack.folder), "events", "-f", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        heard = until_ready(follower.stdout, 1)
        reload(stack, "--self")
        os.kill(stack.child("a")["pid"], signal.SIGKILL)
        heard += until_ready(follower.stdout, 2)
        os.kill(stack.supervisor_pid, signal.SIGKILL)
        os.kill(stack.child("a")["pid"], signal.SIGKILL)
        heard += until_ready(follower.stdout, 3)
        follower.terminate()
    numbers = [event["revision"] for event in heard]
    assert numbers == sorted(set(numbers))
    steps = ["starting", "ready", "backoff", "starting", "ready", "backoff", "starting", "ready"]
    assert [event["to"] for event in heard] == steps


def until_ready(lines: IO[str], generation: int) -> list[Document]:
    """The events up to the one that tells that this generation is ready."""
    heard: list[Document] = []
    for line in lines:
        heard.append(json.loads(line))
        if (heard[-1]["to"], heard[-1]["generation"]) == ("ready", generation):
            return heard
    raise AssertionError(f"the follower has ended: {heard}")


def test_an_installation_that_does_not_load_changes_nothing(
    stack: SupervisedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor tries first whether another one would come up; if not, it goes on, and says why."""
    broken = stack.folder / "broken"
    stack.write(SERVING)
    monkeypatch.setenv("PYTHONPATH", str(broken))
    stack.start()
    before = stack.wait_state("a", "ready")
    supervisor = stack.supervisor_pid
    (broken / "websockets").mkdir(parents=True)
    (broken / "websockets" / "__init__.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.delenv("PYTHONPATH")
    done = reload(stack, "--self", code=1)
    assert "another supervisor could not take over: ImportError: half of it is missing" in done.stderr
    assert stack.supervisor_pid == supervisor
    assert stack.child("a")["pid"] == before["pid"]
