"""What dies takes nothing with it that it need not: supervisor, guardian, both, what children left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.procfs import read_nonce, scan
from launcher.running.slots import Slots, read_slots
from launcher.runtime_dir import runtime_paths
from tests.integration.supervised_stack import SupervisedStack, hostile, is_alive, wait_gone

pytestmark = pytest.mark.stack

SERVING = (
    f"  a: {{command: {hostile('--serve')}, port: auto, inherit_sockets: true, host: 127.0.0.1,"
    " health: {http: /, period: 200ms}, restart: {backoff: {initial: 10ms}}}\n"
)
DAEMON = f"  d: {{command: {hostile('--fork', '--setsid', '--ready')}, health: {{notify: true}}}}\n"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test, with nothing of it left."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()
    assert left_of(tmp_path) == []


def left_of(folder: Path) -> list[str]:
    """Every process, whoever its parent is now, that was started from this folder's configuration."""
    mine = f"XDG_RUNTIME_DIR={folder}".encode()
    found = []
    for process in scan():
        try:
            environ = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if process.is_alive and mine in environ and process.pid != os.getpid() and read_nonce(process.pid):
            found.append(f"{process.name} {process.pid}")
    return found


def kill(pid: int) -> None:
    """SIGKILL a process and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)


class Client:
    """A client that connects without a pause until told to stop, and counts who was refused."""

    def __init__(self, port: int) -> None:
        self.refused = self.answered = 0
        self._port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client")

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=20) as answer:
                    answer.read()
                self.answered += 1
            except ConnectionRefusedError:
                self.refused += 1
            except OSError as error:
                if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                    self.refused += 1


def test_supervisor_dies_and_nobody_notices(stack: SupervisedStack) -> None:
    """kill -9 of the supervisor: same children, same generations, another supervisor, nobody refused."""
    stack.write(SERVING + DAEMON)
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("a", "ready")
    stack.wait_state("d", "ready")
    before = {name: stack.child(name) for name in ("a", "d")}
    supervisor, guardian = stack.supervisor_pid, stack.guardian_pid
    with Client(port) as client:
        kill(supervisor)
        after = {name: stack.child(name) for name in ("a", "d")}
    for name in before:
        assert after[name]["state"] == "ready"
        assert after[name]["restarts"] == 0
        assert (after[name]["pid"], after[name]["generation"]) == (before[name]["pid"], 1)
    assert stack.supervisor_pid != supervisor
    assert stack.guardian_pid == guardian
    assert client.refused == 0
    assert client.answered > 0
    assert "2 children go on untouched" in stack.output()


def test_exit_during_the_gap_keeps_its_code_and_its_last_words(stack: SupervisedStack) -> None:
    """A child that ends while no supervisor runs has its real exit code, and its last line is read."""
    policy = "restart: {policy: never}"
    stack.write(f"  a: {{command: {hostile('--ready')}, health: {{notify: true}}, {policy}}}\n")
    stack.start()
    child = stack.wait_state("a", "ready")["pid"]
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(child, signal.SIGTERM)
    wait_gone(child)
    kill(supervisor)
    ended = stack.wait_for("a", lambda document: document["last_exit"] is not None)
    assert (ended["last_exit"]["code"], ended["last_exit"]["signal"]) == (0, None)
    assert ended["exits_total"] == 1
    assert sum(line.endswith("stdout | last words") for line in stack.log("a")) == 1


def test_readiness_said_during_the_gap_is_heard(stack: SupervisedStack) -> None:
    """READY=1 that is sent while no supervisor runs is not lost."""
    slow = ["sh", "-c", f"read -r _ < go; exec {' '.join(eval_command('--ready'))}"]
    stack.write(f"  a: {{command: {slow}, health: {{notify: true}}}}\n".replace("'", '"'))
    os.mkfifo(stack.folder / "go")
    stack.start()
    child = stack.wait_for("a", lambda document: document["pid"] is not None)["pid"]
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    (stack.folder / "go").write_text("go\n")
    kill(supervisor)
    assert stack.wait_state("a", "ready")["pid"] == child


def eval_command(*flags: str) -> list[str]:
    """The command of a hostile child as words."""
    import json

    words: list[str] = json.loads(hostile(*flags))
    return words


def test_guardian_dies_and_the_stack_is_back(stack: SupervisedStack) -> None:
    """kill -9 of the guardian: its children die, the supervisor takes its place, nobody is refused."""
    stack.write(SERVING + DAEMON)
    port = stack.start()["plan"][0]["port"]
    before = stack.wait_state("a", "ready")
    stack.wait_state("d", "ready")
    daemons = [int(found[1]) for line in stack.log("d") if (found := re.search(r"pid \w+ (\d+)$", line))]
    assert len(daemons) == 2
    supervisor, guardian = stack.supervisor_pid, stack.guardian_pid
    with Client(port) as client:
        kill(guardian)
        wait_gone(before["pid"])
        after = stack.wait_state("a", "ready", generation=2)
        stack.wait_state("d", "ready", generation=2)
    assert stack.guardian_pid == supervisor
    assert after["consecutive_failures"] == 0
    assert not any(is_alive(pid) for pid in daemons)
    assert client.refused == 0
    assert client.answered > 0
    os.kill(stack.guardian_pid, signal.SIGTERM)
    wait_gone(supervisor)
    assert stack.process is not None
    stack.process.wait()


def test_both_die_and_nothing_is_left(stack: SupervisedStack) -> None:
    """kill -9 of both at once: children, forks and daemons are gone, and the next start says so."""
    stack.write(SERVING + DAEMON)
    stack.start()
    stack.wait_state("d", "ready")
    leader = stack.wait_state("a", "ready")["pid"]
    daemons = [int(found[1]) for line in stack.log("d") if (found := re.search(r"pid \w+ (\d+)$", line))]
    supervisor, guardian = stack.supervisor_pid, stack.guardian_pid
    os.kill(supervisor, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    for pid in (supervisor, leader, *daemons):
        wait_gone(pid)
    assert stack.process is not None
    stack.process.wait()
    report = stack.start()
    assert report["ok"] is True
    assert f"(pid {guardian}) was killed" in report["notes"][0]
    assert {pid for pid in daemons if any(f"(pid {pid}) of d" in note for note in report["notes"])} == set(
        daemons
    )
    assert stack.wait_state("a", "ready")["generation"] == 1


def test_supervisor_that_crashes_again_and_again_is_given_up(stack: SupervisedStack) -> None:
    """A supervisor that cannot come back ends the stack in order, and the next start says why."""
    stack.write(SERVING + DAEMON)
    stack.start()
    stack.wait_state("a", "ready")
    stack.wait_state("d", "ready")
    folder, away = stack.socket.parent.parent, stack.folder / "moved"
    supervisor = stack.supervisor_pid
    folder.rename(away)
    folder.write_text("in the way of every supervisor that starts")
    kill(supervisor)
    assert stack.wait_end() == 1
    assert "crashed 6 times in a row" in stack.output()
    folder.unlink()
    away.rename(folder)
    report = stack.start()
    assert any("crashed 6 times in a row" in note for note in report["notes"])


def test_reload_self_replaces_the_supervisor_only(stack: SupervisedStack) -> None:
    """The supervisor is replaced at its own word, and children, sockets and counters stay."""
    stack.write(SERVING)
    port = stack.start()["plan"][0]["port"]
    first = stack.wait_state("a", "ready")
    os.kill(first["pid"], signal.SIGKILL)
    before = stack.wait_state("a", "ready", generation=2)
    supervisor = stack.supervisor_pid
    with Client(port) as client:
        assert stack.ask("reload_self")["status"] == "success"
        wait_gone(supervisor)
        after = stack.child("a")
    assert (after["pid"], after["generation"], after["restarts"]) == (before["pid"], 2, 1)
    assert after["last_exit"]["signal"] == signal.SIGKILL
    assert client.refused == 0


def test_bad_file_does_not_disturb_a_takeover(stack: SupervisedStack) -> None:
    """The settings in force are those that were applied, not what the file says meanwhile."""
    stack.write(SERVING)
    stack.start()
    before = stack.wait_state("a", "ready")["pid"]
    stack.config.write_text("services: {a: {commnd: [x]}}")
    kill(stack.supervisor_pid)
    assert stack.child("a")["pid"] == before
    os.kill(before, signal.SIGKILL)
    assert stack.wait_state("a", "ready", generation=2)["restarts"] == 1


def test_signals_to_the_guardian_reach_the_supervisor(stack: SupervisedStack) -> None:
    """SIGTERM to the guardian is an orderly end, also when it comes while no supervisor runs."""
    stack.write(SERVING)
    stack.start()
    stack.wait_state("a", "ready")
    assert stack.process is not None
    os.kill(stack.process.pid, signal.SIGSTOP)
    os.kill(stack.supervisor_pid, signal.SIGKILL)
    os.kill(stack.process.pid, signal.SIGTERM)
    os.kill(stack.process.pid, signal.SIGCONT)
    assert stack.wait_end() == 0
    assert stack.log("a")[-1].rpartition("ended: ")[2].startswith("exit code 0")


def test_the_port_stays_held_through_it_all(stack: SupervisedStack) -> None:
    """Nobody can take the port while supervisor and child are both away."""
    stack.write(SERVING)
    port = stack.start()["plan"][0]["port"]
    child = stack.wait_state("a", "ready")["pid"]
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    kill(child)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", port))
    os.kill(supervisor, signal.SIGCONT)
    stack.wait_state("a", "ready", generation=2)


def test_a_journal_of_another_version_is_not_believed(stack: SupervisedStack, tmp_path: Path) -> None:
    """A supervisor that cannot read what the one before wrote starts every service anew."""
    stack.write(SERVING + DAEMON)
    stack.start()
    before, daemon = stack.wait_state("a", "ready")["pid"], stack.wait_state("d", "ready")["pid"]
    journal = runtime_paths(tmp_path / "config.yaml").journal
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    text = read_slots(journal)
    assert text is not None
    slots = Slots(journal)
    slots.write(text.replace(b'"form": "1 ', b'"form": "0 '))
    slots.close()
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(before)
    wait_gone(daemon)
    after = stack.wait_for("a", lambda child: child["state"] == "ready" and child["pid"] != before)
    assert after["generation"] == 1
    assert any("another version" in note for note in stack.ask("snapshot")["snapshot"]["notes"])
