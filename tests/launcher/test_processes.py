"""launcher.spawning, fork_exec, wards, processes and parent: real processes, their sessions, their ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from launcher.children.parent import Born, Parent
from launcher.processes import ExitStatus
from launcher.procfs import read_nonce, read_stat, scan
from launcher.spawning import SpawnError, SpawnRequest
from tests.launcher.guarded import guarded

HOSTILE = str(Path(__file__).parent.parent / "hostile_child.py")


class Watched:
    """A started hostile child, its lines, and what its tree tells of its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[tuple[ExitStatus, bool]] = loop.create_future()
        self.emptied = asyncio.Event()
        self.born_pids: list[int] = []
        self.born: Born | None = None
        self._reader = asyncio.StreamReader()

    async def start(self, parent: Parent, request: SpawnRequest) -> Watched:
        """Start it and read its stdout."""
        self.born = await parent.start(
            request,
            on_born=self.born_pids.append,
            on_exit=lambda status, is_empty: self.exited.set_result((status, is_empty)),
            on_empty=self.emptied.set,
        )
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(self.born.stdout_fd, "rb")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), pipe)
        os.close(self.born.stderr_fd)
        return self

    @property
    def pid(self) -> int:
        """The leader's pid."""
        assert self.born is not None
        return self.born.tree.pid

    async def line(self) -> str:
        """Its next line."""
        return (await self._reader.readline()).decode().rstrip()

    def end(self) -> None:
        """Kill it all."""
        assert self.born is not None
        self.born.tree.kill()


def request(*flags: str, **changes: object) -> SpawnRequest:
    """A hostile child with these flags."""
    base = {
        "argv": (sys.executable, HOSTILE, *flags),
        "environ": {"PATH": os.environ["PATH"]},
        "cwd": Path("/"),
    }
    return SpawnRequest(**{**base, **changes})  # type: ignore[arg-type]  # fields by name, checked at run time


def ended(pid: int) -> asyncio.Event:
    """Return what is set once that process has ended."""
    event, loop, pidfd = asyncio.Event(), asyncio.get_running_loop(), os.pidfd_open(pid)

    def note() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        event.set()

    loop.add_reader(pidfd, note)
    return event


async def hear_all(parent: Parent) -> None:
    """Return when the guardian has obeyed every word so far: it obeys them in their order."""
    another = await Watched().start(parent, request("--exit", "0"))
    await another.exited


@pytest.fixture
async def parent() -> AsyncIterator[Parent]:
    """The parent role, given back after the test."""
    async with guarded() as parent:
        yield parent


async def test_exit_code_is_told(parent: Parent) -> None:
    """An exit by itself carries its code, and the group is empty."""
    child = await Watched().start(parent, request("--exit", "7"))
    assert await child.exited == (ExitStatus(7, None), True)
    assert child.born_pids == [child.pid]
    await hear_all(parent)
    assert read_stat(child.pid) is None


async def test_signal_is_told(parent: Parent) -> None:
    """An end by a signal carries the signal and reads as a phrase."""
    child = await Watched().start(parent, request("--segfault"))
    status, _ = await child.exited
    assert (status.code, status.signal, status.text) == (None, signal.SIGSEGV, "killed by SIGSEGV")


async def test_child_leads_its_own_session(parent: Parent) -> None:
    """The child leads session and group, carries the nonce, and dies with its parent (PDEATHSIG is armed)."""
    child = await Watched().start(parent, request("--say", "up"))
    await child.line()
    facts = read_stat(child.pid)
    assert facts is not None
    assert (facts.session, facts.group, facts.parent) == (child.pid, child.pid, parent.pid)
    assert child.born is not None
    assert read_nonce(child.pid) == child.born.nonce
    child.end()
    await child.exited


async def test_exit_does_not_wait_for_whoever_holds_the_pipe(parent: Parent) -> None:
    """A grandchild that keeps stdout does not delay the exit; the group is empty only when it is gone."""
    child = await Watched().start(parent, request("--fork", "--setsid", "--exit", "1"))
    pids = [int((await child.line()).split()[2]) for _ in range(2)]
    status, is_empty = await child.exited
    assert (status.code, is_empty) == (1, False)
    assert child.born is not None
    assert {member.pid for member in child.born.tree.members()} == set(pids)
    child.born.tree.terminate(signal.SIGTERM)
    await child.emptied.wait()
    assert not any(process.pid in pids and process.is_alive for process in scan())


async def test_kill_takes_what_left_the_session(parent: Parent) -> None:
    """SIGKILL reaches a leader that ignores SIGTERM and the daemon that it made."""
    child = await Watched().start(parent, request("--ignore-term", "--setsid"))
    daemon = int((await child.line()).split()[2])
    assert child.born is not None
    child.born.tree.terminate(signal.SIGTERM)
    assert len(child.born.tree.members()) == 2
    has_ended = ended(daemon)
    child.end()
    _, is_empty = await child.exited
    if not is_empty:
        await child.emptied.wait()
    # One that has no memory left is nobody's any more, moments before its end can be seen.
    await has_ended.wait()
    assert not any(process.pid == daemon and process.is_alive for process in scan())


async def test_terminate_wakes_a_stopped_process(parent: Parent) -> None:
    """A process that was stopped still gets to handle SIGTERM."""
    child = await Watched().start(parent, request("--say", "up"))
    await child.line()
    os.kill(child.pid, signal.SIGSTOP)
    assert child.born is not None
    child.born.tree.terminate(signal.SIGTERM)
    assert await child.line() == "last words"
    assert (await child.exited)[0].code == 0


async def test_signals_after_the_end_reach_nobody(parent: Parent) -> None:
    """Once the group is empty its number may belong to anybody, so nothing is signalled."""
    child = await Watched().start(parent, request("--exit", "0"))
    await child.exited
    assert child.born is not None
    child.born.tree.terminate(signal.SIGTERM)
    child.born.tree.kill()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"argv": ("/no/such/program",)}, "cannot start /no/such/program: No such file"),
        ({"cwd": Path("/no/such/folder")}, "cannot start /no/such/folder: No such file"),
        ({"argv": ("/etc/passwd",)}, "cannot start /etc/passwd: Permission denied"),
        ({"user": "nobody-of-that-name"}, "there is no user 'nobody-of-that-name'"),
        ({"open_files": 2**31}, "cannot start"),
    ],
)
async def test_failed_spawn_says_why_and_leaves_nothing(
    parent: Parent, changes: dict[str, object], words: str
) -> None:
    """What cannot start is a SpawnError with the reason; no process and no descriptor stays."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(SpawnError) as caught:
        await Watched().start(parent, request(**changes))
    assert words in str(caught.value)
    assert set(os.listdir("/proc/self/fd")) == before


async def test_sockets_arrive_from_three_on(parent: Parent) -> None:
    """Held sockets are fd 3 and up in order, LISTEN_PID is the child's own, and nothing else is open."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        fds = (second.fileno(), first.fileno())
        environ = {"PATH": os.environ["PATH"], "LISTEN_FDS": "2", "LUCID_GENERATION": "1"}
        child = await Watched().start(parent, request("--print-environment", environ=environ, socket_fds=fds))
        lines = []
        while not lines or not lines[-1].startswith("session"):
            lines.append(await child.line())
    assert f"env LISTEN_PID={child.pid}" in lines
    assert "fds [0, 1, 2, 3, 4, 5]" in lines
    assert f"session True group True pid {child.pid}" in lines
    child.end()
    await child.exited


async def test_orphans_are_reaped(parent: Parent) -> None:
    """What a dead child leaves to us is reaped when it ends, so no zombie stays."""
    child = await Watched().start(parent, request("--setsid", "--exit", "0"))
    daemon = int((await child.line()).split()[2])
    await child.exited
    child.end()
    await child.emptied.wait()
    await hear_all(parent)
    assert read_stat(daemon) is None
