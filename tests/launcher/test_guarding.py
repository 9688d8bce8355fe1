"""launcher.guarding: programs are started and reaped, and the next supervisor is handed all that there is."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal

from launcher.procfs import read_stat
from launcher.wire import close_fds
from tests.launcher.played_supervisor import (
    QUICK,
    Theatre,
    catch_up,
    is_closed,
    read_all,
    spawn_word,
    wait_gone,
)

IDLE = ("sleep", "1000")


def test_a_program_is_started_and_its_end_is_told(theatre: Theatre) -> None:
    """The answer carries pid, pidfd, both outputs and the status; the end follows with its code."""
    theatre.open()
    supervisor = theatre.next().come_up()
    pid, (pidfd, stdout, stderr, status) = supervisor.spawn("sh", "-c", "echo out; echo err >&2; exit 7")
    event, _ = supervisor.hear("exited")
    assert event == {"event": "exited", "pid": pid, "code": 7, "signal": None}
    assert (read_all(stdout), read_all(stderr), read_all(status)) == (b"out\n", b"err\n", b"")
    assert select.select([pidfd], [], [], 0)[0]
    os.close(pidfd)


def test_a_program_that_has_ended_keeps_its_pid_until_it_is_released(theatre: Theatre) -> None:
    """Its number cannot be given to a stranger while somebody may still signal it."""
    theatre.open()
    supervisor = theatre.next().come_up()
    pid, fds = supervisor.spawn("true")
    supervisor.hear("exited")
    facts = read_stat(pid)
    assert facts is not None
    assert facts.state == "Z"
    supervisor.say({"do": "release", "pid": pid})
    catch_up(supervisor)
    assert read_stat(pid) is None
    close_fds(fds)


def test_a_program_that_runs_is_not_released(theatre: Theatre) -> None:
    """A word that came too early is not obeyed: the program's end is told as ever."""
    theatre.open()
    supervisor = theatre.next().come_up()
    pid, fds = supervisor.spawn(*IDLE)
    supervisor.say({"do": "release", "pid": pid})
    supervisor.say({"do": "signal", "pid": pid, "number": signal.SIGKILL})
    assert supervisor.hear("exited")[0]["signal"] == signal.SIGKILL
    close_fds(fds)


def test_a_signal_reaches_the_whole_group_and_no_stranger(theatre: Theatre) -> None:
    """Who was not started here is left alone, whatever the word says."""
    theatre.open()
    supervisor = theatre.next().come_up()
    pid, fds = supervisor.spawn("sh", "-c", "sleep 1000 & echo $!; wait")
    reader = os.fdopen(fds[1], "rb")
    forked = int(reader.readline())
    supervisor.say({"do": "signal", "pid": os.getpid(), "number": signal.SIGKILL})
    supervisor.say({"do": "signal", "pid": pid, "number": signal.SIGKILL})
    supervisor.hear("exited")
    wait_gone(forked)
    reader.close()
    close_fds([fds[0], *fds[2:]])


def test_a_program_that_cannot_be_is_refused(theatre: Theatre) -> None:
    """The refusal carries the error's number, and the guardian goes on."""
    guardian = theatre.open()
    supervisor = theatre.next().come_up()
    catch_up(supervisor)
    limits = resource.prlimit(guardian, resource.RLIMIT_NOFILE)
    resource.prlimit(guardian, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{guardian}/fd")), limits[1]))
    supervisor.say(spawn_word("true", id=5))
    refused, _ = supervisor.hear("refused")
    assert (refused["id"], refused["errno"]) == (5, errno.EMFILE)
    supervisor.say(spawn_word("true", id=6), [0, 0, 0])
    refused, _ = supervisor.hear("refused")
    assert (refused["id"], refused["errno"]) == (6, errno.EMFILE)
    resource.prlimit(guardian, resource.RLIMIT_NOFILE, limits)
    catch_up(supervisor)


def test_orphans_are_reaped(theatre: Theatre) -> None:
    """What a dead program leaves behind becomes the guardian's, and no zombie stays of it."""
    guardian = theatre.open()
    supervisor = theatre.next().come_up()
    pid, fds = supervisor.spawn("sh", "-c", "setsid sleep 1000 >/dev/null & echo $!")
    supervisor.hear("exited")
    supervisor.say({"do": "release", "pid": pid})
    orphan = int(read_all(fds[1]))
    catch_up(supervisor)
    facts = read_stat(orphan)
    assert facts is not None
    assert facts.parent == guardian
    os.kill(orphan, signal.SIGKILL)
    wait_gone(orphan)
    catch_up(supervisor)
    assert read_stat(orphan) is None
    close_fds([fds[0], *fds[2:]])


def test_a_supervisor_that_hangs_stops_nothing(theatre: Theatre) -> None:
    """What it does not read waits in its order, and the guardian obeys meanwhile."""
    guardian = theatre.open()
    supervisor = theatre.next().come_up()
    catch_up(supervisor)
    reader, writer = os.pipe()
    supervisor.say({"do": "keep", "name": "x"}, [writer])
    os.close(writer)
    catch_up(supervisor)
    limits = resource.prlimit(guardian, resource.RLIMIT_NOFILE)
    resource.prlimit(guardian, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{guardian}/fd")), limits[1]))
    for number in range(1000):
        supervisor.say(spawn_word("true", id=number))
    supervisor.say({"do": "drop", "name": "x"})
    assert is_closed(reader)
    assert [supervisor.hear("refused")[0]["id"] for _ in range(1000)] == list(range(1000))
    os.close(reader)


def test_the_first_supervisor_is_handed_nothing(theatre: Theatre) -> None:
    """It gets the arguments, and the channel as descriptor 3."""
    theatre.open("--config", "x.yaml", "--only", "a")
    first = theatre.next()
    argv = ["-m", "launcher.supervisor", "--config", "x.yaml", "--only", "a", "--guardian-fd", "3"]
    assert first.argv == argv
    assert first.take_over() == ("start", {}, [])


def test_the_next_supervisor_is_handed_everything(theatre: Theatre) -> None:
    """Descriptors under the names they were kept by, and programs with what was said of them."""
    theatre.open()
    first = theatre.next().come_up()
    reader, writer = os.pipe()
    for name in ("a", "b", "a"):
        first.say({"do": "keep", "name": name}, [reader, writer])
    first.say({"do": "drop", "name": "b"})
    about = {"child": "a", "generation": 3}
    pid, fds = first.spawn(*IDLE, about=about)
    close_fds([writer, *fds])
    os.kill(first.pid, signal.SIGKILL)
    reason, kept, ((process, handed),) = theatre.next().take_over()
    assert (reason, sorted(kept)) == ("died", ["a", "lifeline"])
    os.write(kept["a"][1], b"still open")
    assert os.read(reader, 100) == b"still open"
    assert process == {"event": "process", "pid": pid, "about": about, "ended": None}
    assert len(handed) == 4
    close_fds([reader, *handed, *kept["a"], *kept["lifeline"]])


def test_an_end_that_no_supervisor_saw_is_handed_over(theatre: Theatre) -> None:
    """The exit code of a program that ended in between is in the handover, and its output is unread."""
    theatre.open()
    first = theatre.next().come_up()
    fifo = theatre.folder / "go"
    os.mkfifo(fifo)
    pid, fds = first.spawn("sh", "-c", f"read -r _ <'{fifo}'; echo bye; exit 9", about={})
    close_fds(fds)
    os.kill(first.pid, signal.SIGKILL)
    second = theatre.next().come_up()
    fifo.write_text("go\n")
    assert second.hear("exited")[0]["code"] == 9
    os.kill(second.pid, signal.SIGKILL)
    _, kept, ((process, handed),) = theatre.next().take_over()
    assert (process["pid"], process["ended"]) == (pid, {"code": 9, "signal": None})
    assert read_all(handed[1]) == b"bye\n"
    close_fds([handed[0], *handed[2:], *kept["lifeline"]])


def test_a_supervisor_that_was_killed_is_followed_at_once(theatre: Theatre) -> None:
    """SIGKILL is nobody's own mistake, and does not count however often it comes."""
    theatre.open(pauses_s=())
    for reason in ("start", "died", "died", "died"):
        supervisor = theatre.next()
        assert supervisor.take_over()[0] == reason
        supervisor.say({"do": "up"})
        os.kill(supervisor.pid, signal.SIGKILL)
        assert supervisor.is_hung_up()
    assert "ended by signal SIGKILL" in theatre.said()


def test_a_supervisor_may_be_ended_by_a_signal_without_a_name(theatre: Theatre) -> None:
    """A real-time signal has none; the next one comes all the same."""
    theatre.open(pauses_s=QUICK)
    first = theatre.next().come_up()
    os.kill(first.pid, signal.SIGRTMIN + 3)
    assert theatre.next().take_over()[0] == "died"
    assert f"ended by signal {signal.SIGRTMIN + 3};" in theatre.said()


def test_a_supervisor_that_asks_for_it_is_replaced(theatre: Theatre) -> None:
    """Its end is no crash, whatever the exit code."""
    theatre.open(pauses_s=())
    first = theatre.next().come_up()
    first.say({"do": "reload"})
    first.exit(3)
    assert theatre.next().take_over()[0] == "reload"
    assert theatre.said() == ""


def test_a_supervisor_that_crashes_again_and_again_is_given_up(theatre: Theatre) -> None:
    """Programs are stopped by their own signal, those that others need last, and a note is left."""
    theatre.open(pauses_s=QUICK)
    supervisor = theatre.next().come_up()
    order, notes = theatre.folder / "order", theatre.folder / "notes"
    for rank in (1, 2):
        script = f"trap 'echo {rank} >>{order}; exit' USR1; echo up; sleep 1000 & wait"
        stop = {"signal": signal.SIGUSR1, "grace_s": 20.0, "rank": rank}
        _, fds = supervisor.spawn("sh", "-c", script, stop=stop)
        assert os.read(fds[1], 10) == b"up\n"
        close_fds(fds)
    with notes.open("wb") as file:
        supervisor.say({"do": "keep", "name": "notes"}, [file.fileno()])
    for _ in range(len(QUICK)):
        supervisor.exit(1)
        supervisor = theatre.next().come_up()
    supervisor.exit(1)
    assert theatre.wait_end() == 1
    assert order.read_text() == "2\n1\n"
    assert notes.read_text() == ("the guardian stops everything: the supervisor crashed 6 times in a row\n")


def test_a_supervisor_that_never_comes_up_ends_it_all(theatre: Theatre) -> None:
    """The first one's exit code is the guardian's: it has told whoever started it what was wrong."""
    theatre.open(pauses_s=QUICK)
    theatre.next().exit(4)
    assert theatre.wait_end() == 4
