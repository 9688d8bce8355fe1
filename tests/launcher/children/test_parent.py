"""launcher.children.parent: words and answers find each other, and what is given up is ended and let go."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from launcher.children.handover import HandedProcess
from launcher.children.parent import Born, Parent
from launcher.processes import ExitStatus
from launcher.procfs import NONCE_VARIABLE
from launcher.spawning import SpawnError, SpawnRequest, StopRule
from launcher.wire import channel_pair, close_fds, receive, send

NONCE = "0123456789abcdef"
REQUEST = SpawnRequest(("prog", "x"), {"A": "b"}, Path("/"), stop=StopRule(signal.SIGINT, 2.5, 3))


class Guardian:
    """The other end of a parent's channel, played by the test, and what the parent was told."""

    def __init__(self) -> None:
        ours, self._end = channel_pair()
        self.lost: list[str] = []
        self.asked: list[str] = []
        self.told: list[Any] = []
        self.parent = Parent(
            ours,
            lambda: self.lost.append("lost"),
            lambda: self.asked.append("end"),
            NONCE,
            pid=os.getpid(),
        )
        self._programs: list[subprocess.Popen[bytes]] = []
        self._open: list[int] = []

    async def word(self) -> dict[str, Any]:
        """The next word of the parent; its descriptors are closed."""
        found = await asyncio.to_thread(receive, self._end)
        assert found is not None
        close_fds(found[1])
        return found[0]

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the parent something, which it hears at once."""
        fds = fields.pop("fds", ())
        send(self._end, {"event": event, **fields}, fds)
        self.parent.listen()

    def program(self) -> tuple[int, list[int]]:
        """A real process in the part of a started one: its pid, and pidfd, stdout, stderr and status."""
        self._programs.append(subprocess.Popen(["sleep", "1000"]))
        pid = self._programs[-1].pid
        pipes = [os.pipe() for _ in range(3)]
        self._open += [pipe[1] for pipe in pipes]
        return pid, [os.pidfd_open(pid), *(pipe[0] for pipe in pipes)]

    def bear(self, number: int, failure: bytes = b"") -> int:
        """Answer a word to spawn; `failure` is what came over the status pipe."""
        pid, fds = self.program()
        os.write(self._open[-1], failure)
        os.close(self._open.pop())
        self.tell("spawned", id=number, pid=pid, fds=fds)
        close_fds(fds)
        return pid

    def kill(self) -> None:
        """Let the last program end, so that nothing of it lives."""
        self._programs[-1].kill()
        self._programs[-1].wait()

    def start(self, about: dict[str, Any] | None = None) -> asyncio.Task[Born]:
        """Have the parent start a program."""
        return asyncio.create_task(
            self.parent.start(
                REQUEST,
                on_born=lambda pid: self.told.append(("born", pid)),
                on_exit=lambda status, is_empty: self.told.append(("exit", status, is_empty)),
                on_empty=lambda: self.told.append(("empty",)),
                about=about,
            )
        )

    def close(self) -> None:
        """Let go of everything."""
        self.parent.close()
        self._end.close()
        for program in self._programs:
            program.kill()
            program.wait()
        close_fds(self._open)

    def go(self) -> None:
        """Hang up."""
        self._end.close()
        self.parent.listen()


@pytest.fixture
async def guardian() -> AsyncIterator[Guardian]:
    """A parent and its guardian."""
    guardian = Guardian()
    yield guardian
    guardian.close()


def let_go(born: Born) -> None:
    """Close what a start gave us."""
    close_fds([born.stdout_fd, born.stderr_fd])


async def test_the_word_says_all_that_a_start_needs(guardian: Guardian) -> None:
    """Command, environment with a nonce of its own, how to stop it, and what the next supervisor is told."""
    starting = guardian.start({"child": "a", "generation": 2})
    word = await guardian.word()
    assert word["do"] == "spawn"
    assert word["order"]["argv"] == ["prog", "x"]
    nonce = word["order"]["environ"][NONCE_VARIABLE]
    assert nonce.startswith(f"{NONCE}.")
    assert word["order"]["environ"]["A"] == "b"
    assert word["about"] == {"child": "a", "generation": 2, "nonce": nonce}
    assert word["stop"] == {"signal": signal.SIGINT, "grace_s": 2.5, "rank": 3}
    pid = guardian.bear(word["id"])
    born = await starting
    assert (born.tree.pid, born.nonce, guardian.told) == (pid, nonce, [("born", pid)])
    let_go(born)


async def test_answers_find_their_words(guardian: Guardian) -> None:
    """In whatever order they come, and no two nonces are the same."""
    first, second = guardian.start(), guardian.start()
    one, two = await guardian.word(), await guardian.word()
    assert one["order"]["environ"][NONCE_VARIABLE] != two["order"]["environ"][NONCE_VARIABLE]
    pids = [guardian.bear(two["id"]), guardian.bear(one["id"])]
    borns = [await second, await first]
    assert [born.tree.pid for born in borns] == pids
    for born in borns:
        let_go(born)


async def test_a_refusal_says_which_limit(guardian: Guardian) -> None:
    """The error number of the guardian becomes a sentence."""
    starting = guardian.start()
    word = await guardian.word()
    guardian.tell("refused", id=word["id"], errno=11, text="Resource temporarily unavailable")
    with pytest.raises(SpawnError, match="cannot start prog: the limit on processes is reached"):
        await starting
    assert not guardian.parent.has_children


async def test_a_program_that_could_not_become_itself_is_let_go(guardian: Guardian) -> None:
    """What it said before its end is the error; it is reaped when its end is told."""
    before = len(os.listdir("/proc/self/fd"))
    starting = guardian.start({"child": "a"})
    word = await guardian.word()
    pid = guardian.bear(word["id"], b"cannot start prog: No such file or directory")
    with pytest.raises(SpawnError, match="No such file"):
        await starting
    assert await guardian.word() == {"do": "signal", "pid": pid, "number": signal.SIGKILL}
    assert guardian.parent.has_children
    guardian.tell("exited", pid=pid, code=127, signal=None)
    assert await guardian.word() == {"do": "release", "pid": pid}
    assert not guardian.parent.has_children
    # Two are this test's own.
    assert len(os.listdir("/proc/self/fd")) == before + 2


async def test_an_end_that_is_told_before_the_failure_is_read(guardian: Guardian) -> None:
    """Nothing is signalled that has ended already."""
    starting = guardian.start()
    word = await guardian.word()
    pid = guardian.bear(word["id"], b"cannot start prog: why")
    guardian.tell("exited", pid=pid, code=127, signal=None)
    with pytest.raises(SpawnError, match="why"):
        await starting
    assert await guardian.word() == {"do": "release", "pid": pid}


async def test_a_start_that_is_cancelled_leaves_nothing(guardian: Guardian) -> None:
    """Its answer comes all the same, and the program is ended."""
    starting = guardian.start()
    word = await guardian.word()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    pid = guardian.bear(word["id"])
    assert await guardian.word() == {"do": "signal", "pid": pid, "number": signal.SIGKILL}
    guardian.tell("exited", pid=pid, code=None, signal=9)
    assert await guardian.word() == {"do": "release", "pid": pid}
    assert guardian.told == []


async def test_an_end_is_told_with_its_status(guardian: Guardian) -> None:
    """A program without an `about` is let go at once, as nobody writes its end down."""
    starting = guardian.start()
    pid = guardian.bear((await guardian.word())["id"])
    let_go(await starting)
    guardian.kill()
    guardian.tell("exited", pid=pid, code=4, signal=None)
    assert guardian.told[1:] == [("exit", ExitStatus(4, None), True)]
    assert await guardian.word() == {"do": "release", "pid": pid}


async def test_an_end_that_is_told_before_the_start_was_heard_of(guardian: Guardian) -> None:
    """It is kept until there is somebody to tell."""
    starting = guardian.start()
    pid = guardian.bear((await guardian.word())["id"])
    guardian.kill()
    guardian.tell("exited", pid=pid, code=0, signal=None)
    let_go(await starting)
    await asyncio.sleep(0)
    assert guardian.told[1:] == [("exit", ExitStatus(0, None), True)]


async def test_a_child_is_let_go_only_when_its_end_is_written_down(guardian: Guardian) -> None:
    """`release` is for those whose end the journal has."""
    pids = []
    for _ in range(2):
        starting = guardian.start({"child": "a"})
        pids.append(guardian.bear((await guardian.word())["id"]))
        let_go(await starting)
        guardian.kill()
        guardian.tell("exited", pid=pids[-1], code=0, signal=None)
    guardian.parent.release(still_needed=[pids[0]])
    assert await guardian.word() == {"do": "release", "pid": pids[1]}
    guardian.parent.release()
    assert await guardian.word() == {"do": "release", "pid": pids[0]}


@pytest.mark.parametrize("has_told_exit", [True, False])
async def test_a_program_that_was_handed_over_with_its_end(guardian: Guardian, has_told_exit: bool) -> None:
    """The end is told once: by the supervisor before, or by this one."""
    pid, fds = guardian.program()
    guardian.kill()
    process = HandedProcess(pid, {"nonce": "m"}, ExitStatus(5, None), fds)
    born = guardian.parent.adopt(
        process,
        on_exit=lambda status, is_empty: guardian.told.append((status, is_empty)),
        on_empty=lambda: guardian.told.append("empty"),
        has_told_exit=has_told_exit,
    )
    await asyncio.sleep(0)
    assert guardian.told == (["empty"] if has_told_exit else [(ExitStatus(5, None), True)])
    assert (born.nonce, born.tree.pid) == ("m", pid)
    let_go(born)


@pytest.mark.parametrize("ended", [None, ExitStatus(0, None)])
async def test_a_program_that_nobody_wants(guardian: Guardian, ended: ExitStatus | None) -> None:
    """It is killed and let go then, or let go at once; its descriptors are closed."""
    pid, fds = guardian.program()
    guardian.parent.discard(HandedProcess(pid, {}, ended, fds))
    if ended is None:
        assert await guardian.word() == {"do": "signal", "pid": pid, "number": signal.SIGKILL}
        guardian.tell("exited", pid=pid, code=None, signal=9)
    assert await guardian.word() == {"do": "release", "pid": pid}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])


async def test_what_is_kept_and_dropped(guardian: Guardian) -> None:
    """Only what we have kept is dropped, or what a supervisor before has."""
    parent = guardian.parent
    parent.keep("a", [0])
    parent.drop("a")
    parent.drop("a")
    parent.drop("b", is_ours=False)
    parent.tell("up")
    words = [await guardian.word() for _ in range(4)]
    assert [(word["do"], word.get("name")) for word in words] == [
        ("keep", "a"),
        ("drop", "a"),
        ("drop", "b"),
        ("up", None),
    ]
    assert parent.kept == {}


async def test_a_new_lifeline_replaces_the_one_before(guardian: Guardian) -> None:
    """Holding the old one too would keep the old sentinel waiting for ever."""
    pipes = [os.pipe(), os.pipe()]
    for _, writer in pipes:
        guardian.tell("kept", name="lifeline", fds=[writer])
        os.close(writer)
    assert os.read(pipes[0][0], 1) == b""
    (held,) = guardian.parent.kept["lifeline"]
    os.write(held, b"x")
    assert os.read(pipes[1][0], 1) == b"x"
    close_fds([held, pipes[0][0], pipes[1][0]])


async def test_a_wish_to_end_and_the_loss_of_the_guardian(guardian: Guardian) -> None:
    """Each is told once; words to a guardian that is gone are no error."""
    guardian.tell("asked_to_end")
    assert guardian.asked == ["end"]
    guardian.go()
    assert guardian.lost == ["lost"]
    guardian.parent.tell("up")
    guardian.parent.signal(1, 9)
