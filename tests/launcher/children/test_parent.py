"""launcher.children.parent: words and answers find each other, and what is given up is ended and let go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from launcher.children.handover import HandedProcess
from launcher.children.parent import Born
from launcher.processes import ExitStatus
from launcher.procfs import NONCE_VARIABLE
from launcher.spawning import SpawnError
from launcher.wire import close_fds
from tests.launcher.children.played_guardian import NONCE, PlayedGuardian


@pytest.fixture
async def guardian() -> AsyncIterator[PlayedGuardian]:
    """A parent and its guardian."""
    guardian = PlayedGuardian()
    yield guardian
    guardian.close()


def let_go(born: Born) -> None:
    """Close what a start gave us."""
    close_fds([born.stdout_fd, born.stderr_fd])


async def test_the_word_says_all_that_a_start_needs(guardian: PlayedGuardian) -> None:
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


async def test_answers_find_their_words(guardian: PlayedGuardian) -> None:
    """In whatever order they come, and no two nonces are the same."""
    first, second = guardian.start(), guardian.start()
    one, two = await guardian.word(), await guardian.word()
    assert one["order"]["environ"][NONCE_VARIABLE] != two["order"]["environ"][NONCE_VARIABLE]
    pids = [guardian.bear(two["id"]), guardian.bear(one["id"])]
    borns = [await second, await first]
    assert [born.tree.pid for born in borns] == pids
    for born in borns:
        let_go(born)


async def test_a_refusal_says_which_limit(guardian: PlayedGuardian) -> None:
    """The error number of the guardian becomes a sentence."""
    starting = guardian.start()
    word = await guardian.word()
    guardian.tell("refused", id=word["id"], errno=11, text="Resource temporarily unavailable")
    with pytest.raises(SpawnError, match="cannot start prog: the limit on processes is reached"):
        await starting
    assert not guardian.parent.has_children


async def test_a_program_that_could_not_become_itself_is_let_go(guardian: PlayedGuardian) -> None:
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


async def test_an_end_that_is_told_before_the_failure_is_read(guardian: PlayedGuardian) -> None:
    """Nothing is signalled that has ended already."""
    starting = guardian.start()
    word = await guardian.word()
    pid = guardian.bear(word["id"], b"cannot start prog: why")
    guardian.tell("exited", pid=pid, code=127, signal=None)
    with pytest.raises(SpawnError, match="why"):
        await starting
    assert await guardian.word() == {"do": "release", "pid": pid}


async def test_a_start_that_is_cancelled_leaves_nothing(guardian: PlayedGuardian) -> None:
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


async def test_an_end_is_told_with_its_status(guardian: PlayedGuardian) -> None:
    """A program without an `about` is let go at once, as nobody writes its end down."""
    starting = guardian.start()
    pid = guardian.bear((await guardian.word())["id"])
    let_go(await starting)
    guardian.kill()
    guardian.tell("exited", pid=pid, code=4, signal=None)
    assert guardian.told[1:] == [("exit", ExitStatus(4, None), True)]
    assert await guardian.word() == {"do": "release", "pid": pid}


async def test_an_end_that_is_told_before_the_start_was_heard_of(guardian: PlayedGuardian) -> None:
    """It is kept until there is somebody to tell."""
    starting = guardian.start()
    pid = guardian.bear((await guardian.word())["id"])
    guardian.kill()
    guardian.tell("exited", pid=pid, code=0, signal=None)
    let_go(await starting)
    await asyncio.sleep(0)
    assert guardian.told[1:] == [("exit", ExitStatus(0, None), True)]


async def test_a_child_is_let_go_only_when_its_end_is_written_down(guardian: PlayedGuardian) -> None:
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
async def test_a_program_that_was_handed_over_with_its_end(
    guardian: PlayedGuardian, has_told_exit: bool
) -> None:
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
async def test_a_program_that_nobody_wants(guardian: PlayedGuardian, ended: ExitStatus | None) -> None:
    """It is killed and let go then, or let go at once; its descriptors are closed."""
    pid, fds = guardian.program()
    guardian.parent.discard(HandedProcess(pid, {}, ended, fds))
    if ended is None:
        assert await guardian.word() == {"do": "signal", "pid": pid, "number": signal.SIGKILL}
        guardian.tell("exited", pid=pid, code=None, signal=9)
    assert await guardian.word() == {"do": "release", "pid": pid}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])


async def test_what_is_kept_and_dropped(guardian: PlayedGuardian) -> None:
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


async def test_a_new_lifeline_replaces_the_one_before(guardian: PlayedGuardian) -> None:
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


async def test_a_wish_to_end_and_the_loss_of_the_guardian(guardian: PlayedGuardian) -> None:
    """Each is told once; words to a guardian that is gone are no error."""
    guardian.tell("asked_to_end")
    assert guardian.asked == ["end"]
    guardian.go()
    assert guardian.lost == ["lost"]
    guardian.parent.tell("up")
    guardian.parent.signal(1, 9)
