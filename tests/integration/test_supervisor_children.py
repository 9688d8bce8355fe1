"""The supervisor with real, badly behaved children."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile, is_alive, wait_gone

QUICK = "restart: {backoff: {initial: 50ms, jitter: 0}, max_failures: 3}"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def printed_pids(stack: SupervisedStack, child: str) -> dict[str, int]:
    """The pids that a hostile child printed of what it forked."""
    found = (re.search(r"\| pid (\w+) (\d+)$", line) for line in stack.log(child))
    return {match[1]: int(match[2]) for match in found if match}


def test_killed_child_comes_back(stack: SupervisedStack) -> None:
    """`kill -9` of a child: generation 2 is ready, and the exit is told as it was."""
    stack.write(f"  a: {{command: {hostile()}, {QUICK}}}\n")
    stack.start()
    first = stack.wait_state("a", "ready")
    os.kill(first["pid"], signal.SIGKILL)
    second = stack.wait_state("a", "ready", generation=2)
    assert (second["restarts"], second["consecutive_failures"]) == (1, 1)
    last = second["last_exit"]
    assert (last["code"], last["signal"], last["reason"]) == (None, 9, "killed")


def test_held_socket_survives_the_child(stack: SupervisedStack) -> None:
    """While a child is dead its clients wait in the backlog and are served by the next generation."""
    stack.write(
        f"  a: {{command: {hostile('--serve')}, port: auto, inherit_sockets: true,"
        f" health: {{http: /, period: 100ms}}, {QUICK}}}\n"
    )
    report = stack.start()
    port = report["plan"][0]["port"]
    first = stack.wait_state("a", "ready")
    os.kill(first["pid"], signal.SIGKILL)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).endswith(b"\r\n\r\n2")


def test_crash_loop_gives_up_and_leaves_others_alone(stack: SupervisedStack) -> None:
    """A child that never comes up ends in `failed` with its last words; its neighbour is not touched."""
    looping = hostile("--complain", "no luck", "--exit", "3")
    stack.write(f"  a: {{command: {looping}, {QUICK}}}\n  b: {{command: {hostile()}}}\n")
    stack.start()
    failed = stack.wait_state("a", "failed")
    assert (failed["generation"], failed["consecutive_failures"], failed["exits_total"]) == (3, 3, 3)
    assert failed["last_exit"]["stderr_tail"] == ["no luck"]
    assert failed["last_exit"]["code"] == 3
    assert "3 times in a row" in failed["reason"]
    assert stack.child("b")["generation"] == 1
    assert stack.ask("start", services=["a"])["status"] == "success"
    assert stack.wait_state("a", "failed", generation=6)["consecutive_failures"] == 3


def test_exit_78_is_not_retried(stack: SupervisedStack) -> None:
    """A child that says its configuration is wrong fails after one try."""
    stack.write(f"  a: {{command: {hostile('--complain', 'bad option', '--exit', '78')}, {QUICK}}}\n")
    stack.start()
    failed = stack.wait_state("a", "failed")
    assert failed["generation"] == 1
    assert failed["last_exit"]["stderr_tail"] == ["bad option"]


def test_deaf_child_is_killed_after_its_grace(stack: SupervisedStack) -> None:
    """A child that ignores SIGTERM is killed, and its forks and daemons with it."""
    deaf = hostile("--ignore-term", "--fork", "--setsid", "--say", "up", "--ready")
    stack.write(f"  a: {{command: {deaf}, health: {{notify: true}}, stop: {{grace: 200ms}}}}\n")
    stack.start()
    leader = stack.wait_state("a", "ready")["pid"]
    forked = printed_pids(stack, "a")
    assert set(forked) == {"fork", "setsid"}
    stack.ask("stop", services=["a"])
    stopped = stack.wait_state("a", "stopped")
    assert stopped["last_exit"]["signal"] == signal.SIGKILL
    assert not any(is_alive(pid) for pid in (leader, *forked.values()))


def test_survivors_end_before_the_restart(stack: SupervisedStack) -> None:
    """What a crashed leader leaves behind is ended before the next generation starts."""
    leaving = hostile("--fork", "--setsid", "--exit", "1", "--exit-generations", "1")
    stack.write(f"  a: {{command: {leaving}, {QUICK}}}\n")
    stack.start()
    stack.wait_state("a", "ready", generation=2)
    first = [line for line in stack.log("a") if "| pid " in line][:2]
    assert len(first) == 2
    for line in first:
        wait_gone(int(line.rsplit(" ", 1)[1]))


def test_hung_child_is_found_diagnosed_and_replaced(stack: SupervisedStack) -> None:
    """A stopped process answers nothing: it is written down what it did, and it is replaced."""
    stack.write(
        f"  a: {{command: {hostile('--serve')}, port: auto, inherit_sockets: true, stop: {{grace: 300ms}},"
        f" health: {{http: /, period: 100ms, timeout: 200ms, failures: 2}}, {QUICK}}}\n"
    )
    stack.start()
    os.kill(stack.wait_state("a", "ready")["pid"], signal.SIGSTOP)
    replaced = stack.wait_state("a", "ready", generation=2)
    assert replaced["last_exit"]["reason"] == "unhealthy"
    bundle = Path(replaced["last_exit"]["diagnosis"]).read_text()
    assert "state T" in bundle
    assert "thread" in bundle


def test_slow_start_shows_its_phases_and_is_not_killed(stack: SupervisedStack) -> None:
    """Phases reach the snapshot while the child starts."""
    stack.write(f"  a: {{command: {hostile('--phase', 'load-model')}, health: {{notify: true}}}}\n")
    stack.start()
    loading = stack.wait_for("a", lambda child: child["phase"] == "load-model")
    assert (loading["state"], loading["progress"], loading["detail"]) == ("starting", 0.5, "in load-model")


def test_start_without_progress_times_out(stack: SupervisedStack) -> None:
    """A child that never gets ready is ended when its startup budget is used up, and that is charged."""
    stack.write(
        f"  a: {{command: {hostile()}, health: {{notify: true, startup_budget: 300ms}},"
        " restart: {policy: never}}\n"
    )
    stack.start()
    failed = stack.wait_state("a", "failed")
    assert failed["last_exit"]["reason"] == "startup_timeout"
    assert failed["last_exit"]["code"] == 0


def test_flood_is_drained_and_bounded(stack: SupervisedStack) -> None:
    """Lines come faster than anybody reads: none is lost, files rotate, and the supervisor still answers."""
    lines = 40_000
    stack.write(
        f"  a: {{command: {hostile('--flood', str(lines), '--long-line', '200000', '--ready')},"
        " health: {notify: true}, logs: {max_size: 1MB, backups: 9}}\n"
    )
    stack.start()
    stack.wait_state("a", "ready")
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopped")
    files = sorted((stack.folder / "logs").glob("a.log*"))
    text = "".join(path.read_text() for path in reversed(files))
    assert all(path.stat().st_size <= 1_000_000 for path in files)
    assert re.findall(r"line (\d{8})", text) == [f"{number:08d}" for number in range(lines)]
    assert text.count("stdout+ | y") == 3
    assert text.splitlines()[-2].endswith("stdout | last words")
    assert stack.ask("snapshot")["snapshot"]["supervisor"]["rss_bytes"] < 100_000_000


def test_child_gets_its_contract(stack: SupervisedStack) -> None:
    """Environment, descriptors, session and group are those of launcher.md section 6."""
    stack.write(
        f"  a: {{command: {hostile('--print-environment', '--ready')}, port: auto, inherit_sockets: true,"
        " health: {notify: true}, cpus: 1,"
        " env: {COLOUR: green}, host: 127.0.0.1}\n"
    )
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("a", "ready")
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopped")
    texts = [line.split(" | ", 1)[1] for line in stack.log("a") if "stdout | " in line]
    environ = dict(text[4:].split("=", 1) for text in texts if text.startswith("env "))
    (pid,) = re.findall(r"^session True group True pid (\d+)$", "\n".join(texts), re.MULTILINE)
    assert environ["PORT"] == str(port)
    assert (environ["LISTEN_PID"], environ["LISTEN_FDS"], environ["LISTEN_FDNAMES"]) == (pid, "1", "a")
    assert (environ["LUCID_SERVICE"], environ["LUCID_CHILD"], environ["LUCID_GENERATION"]) == ("a", "a", "1")
    assert (environ["COLOUR"], environ["OMP_NUM_THREADS"]) == ("green", "1")
    assert (environ["CUDA_DEVICE_ORDER"], environ["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "")
    # 0 to 2, the one socket, and the folder that the listing itself has open.
    assert "fds [0, 1, 2, 3, 4]" in texts


def test_memory_limit_drains_and_restarts(stack: SupervisedStack) -> None:
    """A child over its memory limit is ended with that reason."""
    stack.write(
        f"  a: {{command: {hostile('--hoard', '200')}, limits: {{memory: 100MB}},"
        " restart: {policy: never}}\n"
    )
    stack.start()
    failed = stack.wait_state("a", "failed")
    assert failed["last_exit"]["reason"] == "memory_limit"
    assert "100,000,000" in failed["reason"]
