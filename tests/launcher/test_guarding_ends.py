"""launcher.guarding: how supervisors, guardian and stack come to their ends, whoever asks for it."""

from __future__ import annotations

import os
import signal

from launcher.procfs import read_stat, scan
from launcher.wire import close_fds
from tests.launcher.played_supervisor import QUICK, Played, Theatre, catch_up, wait_gone


def test_signals_are_passed_on(theatre: Theatre) -> None:
    """SIGHUP reaches the supervisor."""
    guardian = theatre.open()
    supervisor = theatre.next().come_up()
    catch_up(supervisor)
    os.kill(guardian, signal.SIGHUP)
    assert supervisor.heard_signal() == "SIGHUP"


def test_a_wish_to_end_outlives_the_supervisor_that_heard_it(theatre: Theatre) -> None:
    """The next one is told as soon as it is up."""
    guardian = theatre.open(pauses_s=QUICK)
    first = theatre.next().come_up()
    catch_up(first)
    os.kill(guardian, signal.SIGTERM)
    assert first.is_hung_up()
    second = theatre.next().come_up()
    assert second.hear("asked_to_end")[0] == {"event": "asked_to_end"}


def test_asked_to_end_while_no_supervisor_runs(theatre: Theatre) -> None:
    """There is nobody to do it in order, so the guardian stops everything itself."""
    guardian = theatre.open()
    first = theatre.next().come_up()
    pid, fds = first.spawn("sleep", "1000")
    close_fds(fds)
    first.exit(1)
    assert first.is_hung_up()
    os.kill(guardian, signal.SIGTERM)
    assert theatre.wait_end() == 1
    assert "asked to end while no supervisor ran" in theatre.said()
    assert read_stat(pid) is None


def test_an_end_by_its_own_word_leaves_nothing(theatre: Theatre) -> None:
    """Programs, orphans and the sentinel are gone, the lock is empty, and the code is the supervisor's."""
    guardian = theatre.open()
    supervisor = theatre.next().come_up()
    _, fds = supervisor.spawn("sh", "-c", "trap '' TERM; setsid sleep 1000 >/dev/null & echo $!; wait")
    with os.fdopen(fds[1], "rb") as output:
        left = int(output.readline())
    children = {process.pid for process in scan() if process.parent == guardian}
    assert len(children) == 3
    lock = theatre.folder / "lock"
    lock.write_text(f"{guardian}\n")
    with lock.open("r+b") as file:
        supervisor.say({"do": "keep", "name": "lock"}, [file.fileno()])
    supervisor.say({"do": "end"})
    supervisor.exit(5)
    assert theatre.wait_end() == 5
    assert lock.read_text() == ""
    for pid in {left, *children}:
        wait_gone(pid)
    close_fds([fds[0], *fds[2:]])


def test_an_end_without_a_word_leaves_the_lock_as_it_is(theatre: Theatre) -> None:
    """Whoever takes it next can tell that its owner did not end well."""
    guardian = theatre.open(pauses_s=())
    supervisor = theatre.next().come_up()
    lock = theatre.folder / "lock"
    lock.write_text(f"{guardian}\n")
    with lock.open("r+b") as file:
        supervisor.say({"do": "keep", "name": "lock"}, [file.fileno()])
    supervisor.exit(0)
    assert theatre.wait_end() == 1
    assert lock.read_text() == f"{guardian}\n"


def sentinel_of(guardian: int, supervisor: Played) -> int:
    """The one child of the guardian that is not the supervisor: the shell that waits for a pipe to end."""
    (pid,) = {process.pid for process in scan() if process.parent == guardian} - {supervisor.pid}
    return pid


def test_a_sentinel_that_dies_is_replaced_but_not_for_ever(theatre: Theatre) -> None:
    """Each new one comes with a new lifeline for the supervisor; where none can live it is given up."""
    guardian = theatre.open(pauses_s=QUICK)
    supervisor = theatre.next()
    supervisor.take_over()
    supervisor.say({"do": "up"})
    for _ in range(len(QUICK) + 1):
        event, (lifeline,) = supervisor.hear("kept")
        assert event["name"] == "lifeline"
        os.close(lifeline)
        os.kill(sentinel_of(guardian, supervisor), signal.SIGKILL)
    catch_up(supervisor)
    assert "no sentinel stays alive" in theatre.said()


def test_the_sentinel_acts_when_guardian_and_supervisor_are_both_gone(theatre: Theatre) -> None:
    """It becomes the sweeper with the stack's arguments once nobody holds the lifeline any more."""
    guardian = theatre.open("--config", "x.yaml")
    supervisor = theatre.next()
    supervisor.take_over()
    supervisor.say({"do": "up"})
    _, (lifeline,) = supervisor.hear("kept")
    sentinel = sentinel_of(guardian, supervisor)
    os.kill(guardian, signal.SIGKILL)
    assert supervisor.is_hung_up()
    os.close(lifeline)
    sweeper = theatre.next()
    assert (sweeper.pid, sweeper.argv) == (sentinel, ["-m", "launcher.sentinel", "--config", "x.yaml"])
