"""launcher.wards: programs are stopped in order and never left behind; `test_guarding` holds the rest."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.launcher.alone import alone


def test_a_ward_that_does_not_listen_is_killed_after_its_grace() -> None:
    """One that does ends by itself; a stopped one is woken so that it can."""

    def ends() -> list[Any]:
        import os
        import signal

        from launcher.wards import Wards

        wards = Wards()
        stop = {"signal": int(signal.SIGTERM), "grace_s": 0.3, "rank": 0}

        def start(script: str) -> int:
            order = {"argv": ["sh", "-c", script], "environ": dict(os.environ), "cwd": "/"}
            ward = wards.spawn(order, None, stop, [])
            assert os.read(ward.fds[0], 10) == b"up\n"
            return ward.pid

        deaf = start("trap '' TERM; echo up; sleep 1000")
        good = start("trap 'exit 3' TERM; echo up; sleep 1000 & wait")
        asleep = start("echo up; kill -STOP $$")
        os.waitid(os.P_PID, asleep, os.WSTOPPED)
        wards.stop_all()
        left = wards.sweep(set())
        return [
            left,
            [ward.pid for ward in wards],
            [os.path.exists(f"/proc/{pid}") for pid in (deaf, good, asleep)],
        ]

    assert alone(ends) == [[], [], [False, False, False]]


def test_how_each_has_ended_is_told_once() -> None:
    """By exit code or by signal; it stays unreaped until it is released, and a stranger is not signalled."""

    def ends() -> list[Any]:
        import os
        import signal

        from launcher.wards import Wards

        wards = Wards()
        orders = [
            {"argv": ["sh", "-c", script], "environ": dict(os.environ), "cwd": "/"}
            for script in ("exit 5", "kill -SEGV $$")
        ]
        pids = [wards.spawn(order, None, {}, []).pid for order in orders]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        told = [ward.ended for ward in wards.take_ended(set())]
        again = wards.take_ended(set())
        wards.signal(os.getpid(), signal.SIGKILL)
        before = [os.path.exists(f"/proc/{pid}") for pid in pids]
        for pid in [*pids, *pids]:
            wards.release(pid)
        return [told, again, before, [os.path.exists(f"/proc/{pid}") for pid in pids]]

    ended = [{"code": 5, "signal": None}, {"code": None, "signal": int(signal.SIGSEGV)}]
    assert alone(ends) == [ended, [], [True, True], [False, False]]


def test_a_sweep_takes_everybody_but_the_spared() -> None:
    """Children that nobody started as wards, and those that they leave to us, are gone as well."""

    def sweep() -> list[Any]:
        import os

        from launcher.fork_exec import become_subreaper
        from launcher.wards import Wards

        become_subreaper()
        wards = Wards()
        spared = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
        script = "trap '' TERM HUP; (setsid sleep 1000 & echo $!); sleep 1000"
        order = {"argv": ["sh", "-c", script], "environ": dict(os.environ), "cwd": "/"}
        ward = wards.spawn(order, None, {}, [])
        grandchild = int(os.read(ward.fds[0], 20))
        left = wards.sweep({spared})
        alive = [os.path.exists(f"/proc/{pid}") for pid in (spared, ward.pid, grandchild)]
        last = wards.sweep(set())
        return [left, alive, last, os.path.exists(f"/proc/{spared}")]

    assert alone(sweep) == [[], [True, False, False], [], False]


def test_a_signal_reaches_a_program_that_leads_no_group_yet() -> None:
    """Between its fork and its session it is alone, and what is meant for it must not be lost."""

    def signalled() -> list[Any]:
        import os
        import signal

        from launcher.wards import Wards

        reader, _ = os.pipe()
        os.setsid = lambda: os.read(reader, 1)
        wards = Wards()
        order = {"argv": ["sleep", "1000"], "environ": dict(os.environ), "cwd": "/"}
        pid = wards.spawn(order, None, {}, []).pid
        wards.signal(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return [ward.ended for ward in wards.take_ended(set())]

    assert alone(signalled) == [{"code": None, "signal": int(signal.SIGKILL)}]


def test_a_program_that_cannot_be_watched_does_not_run() -> None:
    """Nobody would ever hear of its end."""

    def attempt() -> list[Any]:
        import errno
        import os

        from launcher.wards import Wards

        wards = Wards()
        before = len(os.listdir("/proc/self/fd"))

        def refuse(pid: int, flags: int = 0) -> int:
            raise OSError(errno.EMFILE, "too many open files")

        os.pidfd_open = refuse
        try:
            wards.spawn({"argv": ["sleep", "1000"], "environ": dict(os.environ), "cwd": "/"}, None, {}, [])
        except OSError as error:
            number = error.errno
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return [number == errno.EMFILE, list(wards), len(os.listdir("/proc/self/fd")) - before]
        return ["it runs"]

    assert alone(attempt) == [True, [], 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill everybody but those whom it may not")
def test_one_that_may_not_be_killed_is_waited_for_and_named() -> None:
    """Without a busy loop meanwhile: what may not be signalled may still end by itself."""

    def sweep() -> list[Any]:
        import os
        import time

        import launcher.wards

        pid = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
        real, launcher.wards._SWEEP_LIMIT_S = os.kill, 0.3

        def refuse(pid: int, number: int) -> None:
            raise PermissionError(1, "not permitted")

        os.kill = refuse
        used = time.process_time()
        left = launcher.wards.Wards().sweep(set())
        used = time.process_time() - used
        real(pid, 9)
        return [left == [pid], used < 0.2]

    assert alone(sweep) == [True, True]
