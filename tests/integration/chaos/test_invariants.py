"""Each invariant of the chaos suite catches what it is for: every test breaks one and sees it named."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chaos.evidence import (
    doubles,
    judge_lines,
    late_restarts,
    logged_lines,
    torn_lines,
    written_lines,
)
from tests.integration.chaos.watchers import Client, StatusReader
from tests.integration.chaos.world import CHILD, World, is_running

GOOD = "2026-11-23T14:02:20.655123Z stdout | chaos web.0-1-7-9 {number} {padding}"


class Copies:
    """Children started by hand, beside each other, as no supervisor may."""

    def __init__(self, folder: Path) -> None:
        self.evidence = folder
        (folder / "lines").mkdir()
        self.started: list[subprocess.Popen[str]] = []
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(folder / "ready"))
        self._ready.settimeout(30)

    def start(self, generation: int) -> subprocess.Popen[str]:
        """Start a copy and wait until it says that it is ready."""
        named = {"LUCID_CHILD": "web", "LUCID_GENERATION": str(generation)}
        child = subprocess.Popen(
            [sys.executable, "-IS", str(CHILD), str(self.evidence)],
            env={**os.environ, **named, "NOTIFY_SOCKET": str(self.evidence / "ready")},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(child)
        assert self._ready.recv(100) == b"READY=1"
        return child

    def close(self) -> None:
        """Kill all of them, and what they left: it holds their output open."""
        for child in self.started:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)
        self._ready.close()

    def daemons(self) -> list[int]:
        """Processes of this evidence folder that nobody waits for."""
        known = {child.pid for child in self.started}
        return [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if int(folder.name) not in known and str(self.evidence).encode() in _cmdline(folder)
        ]


def _cmdline(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Copies]:
    """Children by hand, all ended afterwards."""
    made = Copies(tmp_path)
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of which nothing runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return World(tmp_path)


def test_two_copies_at_once_are_written_down(copies: Copies) -> None:
    """A second copy beside a live one is seen, and one after its end is not."""
    copies.start(1)
    copies.start(2)
    assert [line for line in doubles(copies.evidence) if "web.0.copy" in line]
    (copies.evidence / "doubles").unlink()
    for child in copies.started:
        child.kill()
        child.wait()
    copies.start(3)
    assert doubles(copies.evidence) == []


def test_a_generation_beside_a_daemon_of_the_last_is_written_down(copies: Copies) -> None:
    """What a killed child left in a session of its own counts as alive."""
    first = copies.start(1)
    reader = first.stdout
    assert reader is not None
    first.send_signal(signal.SIGUSR2)
    first.send_signal(signal.SIGUSR1)
    while not reader.readline().startswith("chaos web.0-1-") or not copies.daemons():
        assert select.select([reader], [], [], 30)[0]
    first.kill()
    first.wait()
    copies.start(2)
    assert [line.split(":")[1].strip() for line in doubles(copies.evidence)] == ["web.0.tree"]


def log_of(folder: Path, numbers: list[int]) -> Path:
    """A folder of logs in which one process has these lines."""
    lines = [GOOD.format(number=number, padding="x" * (number % 120)) for number in numbers]
    (folder / "web.log").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("numbers", "is_fine"),
    [
        ([1, 2, 3], True),
        ([1, 2, 3, 4], True),  # written, and killed before it was counted
        ([1, 2, 3, 4, 5], False),
        ([1, 3], False),
        ([1, 2], False),
        ([2, 3], False),
        ([1, 2, 2, 3], False),
        ([1, 3, 2], False),
        ([], False),
    ],
)
def test_lines_are_all_there_once_in_order(tmp_path: Path, numbers: list[int], is_fine: bool) -> None:
    """Of three lines that were counted, one missing, doubled, misplaced or invented is seen."""
    logged = logged_lines(log_of(tmp_path, numbers))
    assert (judge_lines({"web.0-1-7-9": 3}, logged) == []) is is_fine


@pytest.mark.parametrize(
    ("numbers", "is_fine"), [([1, 2], True), ([], True), ([2, 3], False), ([1, 3], False)]
)
def test_a_cut_pipe_excuses_the_end_only(tmp_path: Path, numbers: list[int], is_fine: bool) -> None:
    """Whose pipe went with guardian and supervisor may lack its last lines, and no others."""
    logged = logged_lines(log_of(tmp_path, numbers))
    assert (judge_lines({"web.0-1-7-9": 3}, logged, cut={"web.0-1-7-9"}) == []) is is_fine


def test_a_child_that_was_renamed_goes_on_in_another_log(tmp_path: Path) -> None:
    """What comes first is told by the times of the lines, and within one log nothing is excused."""
    logs = log_of(tmp_path, [])
    lines = [GOOD.format(number=number, padding="x" * number) for number in (1, 2, 3)]
    (logs / "web.0.log").write_text(f"{lines[0]}\n")
    (logs / "web.log").write_text("".join(f"{line.replace('2026', '2027')}\n" for line in lines[1:]))
    assert logged_lines(logs) == {"web.0-1-7-9": [1, 2, 3]}
    (logs / "web.log").write_text("".join(f"{line.replace('2026', '2027')}\n" for line in lines[:0:-1]))
    assert logged_lines(logs) == {"web.0-1-7-9": [1, 3, 2]}


def test_half_a_line_is_torn(tmp_path: Path) -> None:
    """A line that lost its beginning or its end is neither whole nor overlooked."""
    logs = log_of(tmp_path, [1])
    whole = GOOD.format(number=50, padding="x" * 50)
    head, _, text = whole.partition("| ")
    for broken in (whole[:-3], f"{head}| {text[9:]}"):
        with open(logs / "web.log", "a") as log:
            log.write(broken + "\n")
    assert logged_lines(logs) == {"web.0-1-7-9": [1]}
    assert len(torn_lines(logs)) == 2


def test_what_a_child_counts_is_what_it_wrote(copies: Copies) -> None:
    """The counter that outlives a killed child holds the lines that are in its pipe."""
    child = copies.start(1)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("chaos web.0-1-")
    child.kill()
    child.wait()
    assert list(written_lines(copies.evidence).values()) == [1]


def test_a_process_that_is_left_is_found(world: World) -> None:
    """A daemon of the stack, in a session of its own, is among its processes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    left = subprocess.Popen(["cat"], env=world.stack.environ, start_new_session=True, **pipes)
    assert left.stdin is not None
    assert left.stdout is not None
    try:
        # Its environment is only there once the program itself runs.
        left.stdin.write(b"here\n")
        left.stdin.flush()
        assert left.stdout.readline() == b"here\n"
        assert [process.pid for process in world.stack.processes()] == [left.pid]
    finally:
        left.kill()
        left.communicate()
    assert world.stack.processes() == []


def test_a_refused_client_is_counted_unless_all_was_killed() -> None:
    """A port that nobody holds refuses; only while the whole stack is dead nobody is blamed."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = Client("web", lambda: int(bound.getsockname()[1]))
        client.look()
        assert client.problems(is_up=False) == ["web: 1 of 1 clients refused"]
        client.excused.set()
        client.look()
        assert client.refused == 1
        assert client.problems(is_up=True)[1] == "web: no client was ever answered"


def test_a_failure_of_a_watcher_is_not_swallowed() -> None:
    """What goes wrong in its thread is raised where it is waited for."""
    client = Client("web", lambda: {}["no port"])
    with pytest.raises(KeyError), client:
        client.wait_failed(30)


def test_a_late_restart_is_named() -> None:
    """From the end of a child to its next start; one that was stopped meanwhile was not due."""

    def event(child: str, second: int, to: str) -> dict[str, Any]:
        return {"child": child, "at": f"2026-11-23T14:02:{second:02}.5Z", "to": to, "cause": "killed"}

    prompt = [event("web", 1, "backoff"), event("web", 2, "starting")]
    stopped = [event("web", 3, "backoff"), event("web", 4, "stopped"), event("web", 9, "starting")]
    late = [event("a", 1, "backoff"), event("web", 2, "backoff"), event("a", 9, "starting")]
    assert late_restarts([*prompt, *stopped], bound_s=1.0) == []
    assert late_restarts(late, bound_s=1.0) == ["a was killed, and began again 8.00 s later"]


def reader(tmp_path: Path) -> StatusReader:
    """A reader with narrow bounds."""
    return StatusReader(tmp_path / "config.yaml", longest_gap_s=1.0, rss_growth_bytes=1000)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda seen: seen.documents.append({"schema": "lucid.status/1"}), "status: $"),
        (lambda seen: seen.gaps_s.append(1.5), "no supervisor for 1.50 s"),
        (lambda seen: seen.rss_bytes.update({7: [0] * 10 + [5000, 6001]}), "a supervisor grew by"),
    ],
)
def test_the_status_is_judged(tmp_path: Path, spoil: Callable[[StatusReader], None], says: str) -> None:
    """A document that is not valid, a long absence and a supervisor that grows are each named."""
    seen = reader(tmp_path)
    assert seen.problems() == []
    spoil(seen)
    assert [problem for problem in seen.problems() if problem.startswith(says)]


def document(**child: Any) -> dict[str, Any]:
    """A status document of one service with one child, alive and ready unless said otherwise."""
    shown = {"name": "web", "state": "ready", "pid": os.getpid(), "reason": None} | child
    owner = {"pid": os.getpid(), "guardian_pid": os.getppid()}
    return {"supervisor": owner, "services": {"web": {"desired": "up", "children": [shown]}}}


def test_settled_means_ready_alive_and_as_asked(world: World) -> None:
    """Not ready, ready by a dead pid, a dead guardian, and a stop that was forgotten: none is settled."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert world.unsettled(document()) == ""
    assert "web is backoff" in world.unsettled(document(state="backoff"))
    assert f"pid {dead.pid} does not run" in world.unsettled(document(pid=dead.pid))
    orphaned = document()
    orphaned["supervisor"]["guardian_pid"] = dead.pid
    assert "guardian_pid" in world.unsettled(orphaned)
    world.stopped.add("web")
    assert "stopped by request" in world.unsettled(document())


def test_a_frozen_process_does_not_run() -> None:
    """SIGSTOP makes a process as good as dead for whoever waits for it."""
    frozen = subprocess.Popen(["sleep", "1000"])
    try:
        assert is_running(frozen.pid)
        frozen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
        assert not is_running(frozen.pid)
    finally:
        frozen.kill()
        frozen.wait()
