"""Nobody is ended for what the supervisor could not see, or for what the machine did not let it do."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile

pytestmark = pytest.mark.stack

LOADING = '''
"""Computes for so long, in so many steps, tells of each step if asked to, and is ready."""
import os, signal, socket, sys, time
cpu_s, steps, tells = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tells"
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
for step in range(1, steps + 1):
    end = time.process_time() + cpu_s / steps
    while time.process_time() < end:
        sum(range(1000))
    if tells:
        notify(f"X_LUCID_PHASE=load\\nX_LUCID_PROGRESS={step / steps}")
notify("READY=1")
while True:
    signal.pause()
'''
STOPPING = '''
"""Takes a moment to end when it is asked to."""
import os, select, signal, socket
def end(number, frame):
    select.select([], [], [], 0.5)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
'''


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def script(stack: SupervisedStack, text: str, *arguments: str) -> str:
    """The command of a program that is written here, as a YAML list."""
    path = stack.folder / "child.py"
    path.write_text(text)
    return json.dumps([sys.executable, str(path), *arguments])


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that do not run meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def outlives(pid: int, duration_s: float) -> bool:
    """Whether a process is still there after so long."""
    pidfd = os.pidfd_open(pid)
    try:
        return not select.select([pidfd], [], [], duration_s)[0]
    finally:
        os.close(pidfd)


@contextmanager
def hogs(cpu: int, count: int) -> Iterator[None]:
    """Programs that take all of one processor that they can get."""
    program = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("flags", "health"),
    [
        (["--serve"], "{http: /, period: 100ms, timeout: 100ms, failures: 1}"),
        (["--serve"], "{tcp: true, period: 100ms, timeout: 100ms, failures: 1}"),
    ],
)
def test_a_supervisor_that_was_stopped_kills_nobody(
    stack: SupervisedStack, flags: list[str], health: str
) -> None:
    """SIGSTOP for many times the liveness limit, SIGCONT: the child is the same, and was never unhealthy."""
    stack.write(
        f"  a: {{command: {hostile(*flags)}, port: auto, inherit_sockets: true, host: 127.0.0.1,"
        f" health: {health}}}\n"
    )
    stack.start()
    before = stack.wait_state("a", "ready")
    with stopped(stack.supervisor_pid):
        assert outlives(before["pid"], 2.0)
    assert outlives(before["pid"], 1.0)
    after = stack.wait_state("a", "ready")
    assert (after["pid"], after["restarts"], after["exits_total"]) == (before["pid"], 0, 0)
    assert after["health"]["ok"] is True


def test_all_stopped_together_is_nobodys_fault(stack: SupervisedStack) -> None:
    """A suspended machine or a frozen container: a child with a watchdog has had no chance to send one."""
    stack.write(
        f"  a: {{command: {hostile('--ready')}, health: {{notify: true, period: 100ms, failures: 2}}}}\n"
    )
    stack.start()
    before = stack.wait_state("a", "ready")
    with stopped(stack.supervisor_pid, before["pid"]):
        assert outlives(before["pid"], 1.5)
    assert outlives(before["pid"], 0.5)
    assert stack.child("a")["exits_total"] == 0


def test_the_grace_period_is_time_in_which_the_child_could_end(stack: SupervisedStack) -> None:
    """A child that was asked to end, and was then stopped with its supervisor, is not killed for that."""
    stack.write(
        f"  a: {{command: {script(stack, STOPPING)}, health: {{notify: true}}, stop: {{grace: 1s}}}}\n"
    )
    stack.start()
    pid, supervisor = stack.wait_state("a", "ready")["pid"], stack.supervisor_pid
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopping")
    with stopped(supervisor, pid):
        assert outlives(pid, 2.0)
    last = stack.wait_state("a", "stopped")["last_exit"]
    assert (last["code"], last["signal"]) == (0, None)


def test_a_start_that_nobody_could_watch_goes_on(stack: SupervisedStack) -> None:
    """The startup budget ran down while the supervisor was stopped: the child gets a chance to be seen."""
    stack.write(
        f"  a: {{command: {script(stack, LOADING, '0.9', '1', 'silent')},"
        " health: {notify: true, startup_budget: 700ms}}\n"
    )
    stack.start()
    pid = stack.wait_for("a", lambda child: child["pid"] is not None)["pid"]
    with stopped(stack.supervisor_pid):
        assert outlives(pid, 1.5)
    after = stack.wait_state("a", "ready")
    assert (after["pid"], after["exits_total"]) == (pid, 0)


def test_another_supervisor_gives_a_start_a_chance(stack: SupervisedStack) -> None:
    """A budget that ran down between two supervisors does not end the child as soon as the next one runs."""
    stack.write(
        f"  a: {{command: {script(stack, LOADING, '0.9', '1', 'silent')},"
        " health: {notify: true, startup_budget: 700ms}}\n"
    )
    stack.start()
    pid = stack.wait_for("a", lambda child: child["pid"] is not None)["pid"]
    supervisor = stack.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    assert outlives(pid, 1.5)
    os.kill(supervisor, signal.SIGKILL)
    after = stack.wait_state("a", "ready")
    assert (after["pid"], after["exits_total"]) == (pid, 0)


@pytest.mark.parametrize(
    ("cpu_s", "steps", "tells"),
    [("1.0", "10", "tells"), ("0.3", "1", "silent")],
    ids=["with progress", "without a word"],
)
def test_a_load_on_a_starved_processor_survives(
    stack: SupervisedStack, cpu_s: str, steps: str, tells: str
) -> None:
    """Several times its budget, as it gets a quarter of a processor: each step and each wait extends it."""
    cpu = min(os.sched_getaffinity(0))
    stack.write(
        f"  a: {{command: {script(stack, LOADING, cpu_s, steps, tells)}, cpus: [{cpu}],"
        " health: {notify: true, startup_budget: 600ms}}\n"
    )
    with hogs(cpu, 3):
        stack.start()
        after = stack.wait_state("a", "ready")
    assert (after["generation"], after["exits_total"]) == (1, 0)


def test_a_start_without_progress_still_ends(stack: SupervisedStack) -> None:
    """A child that waits for nothing and says nothing is ended after its budget, starved machine or not."""
    stack.write(
        f"  a: {{command: {hostile()}, health: {{notify: true, startup_budget: 300ms}}, restart: never}}\n"
    )
    stack.start()
    assert stack.wait_state("a", "failed")["last_exit"]["reason"] == "startup_timeout"
