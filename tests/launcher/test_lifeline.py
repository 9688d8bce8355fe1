"""launcher.lifeline: the sentinel waits for the end of a pipe, goes when it is told, and is replaced."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.lifeline import dismiss, start_sentinel
from launcher.procfs import read_stat
from tests.launcher.alone import alone


@pytest.fixture
def sweeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the sweeper was started with is written here, in place of sweeping."""
    said, program = tmp_path / "said", tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "$PWD" "$@" >"{said}"\nexit 3\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.chdir(tmp_path)
    return said


def test_the_end_of_the_pipe_makes_it_the_sweeper(sweeper: Path) -> None:
    """Only when the last who held it is gone, with the arguments and the folder of the guardian."""
    pid, writer = start_sentinel(["--config", "a b.yaml"])
    second = os.dup(writer)
    os.close(writer)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.close(second)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert sweeper.read_text() == f"{sweeper.parent} -m launcher.sentinel --config a b.yaml\n"


def test_a_line_lets_it_go(sweeper: Path) -> None:
    """It ends well and sweeps nothing, though the pipe ends too."""
    pid, writer = start_sentinel(["--config", "x"])
    dismiss(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not sweeper.exists()


def test_letting_go_of_one_that_has_died_is_no_error(sweeper: Path) -> None:
    """Nobody reads the line, and the pipe is closed all the same."""
    pid, writer = start_sentinel(["--config", "x"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    dismiss(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)


def test_it_is_of_its_own_session(sweeper: Path) -> None:
    """What a terminal sends to everybody does not reach it."""
    pid, writer = start_sentinel([])
    dismiss(writer)
    facts = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    stat = read_stat(pid)
    assert facts is not None
    assert stat is not None
    assert (stat.session, stat.group) == (pid, pid)
    os.waitpid(pid, 0)


def test_it_survives_its_parent() -> None:
    """The guardian's death is what it is there for."""

    def orphan() -> list[Any]:
        import os
        import signal

        from launcher.fork_exec import become_subreaper
        from launcher.lifeline import start_sentinel

        become_subreaper()
        pids, held = os.pipe(), os.pipe()
        guardian = os.fork()
        if guardian == 0:
            pid, writer = start_sentinel([])
            os.dup2(writer, held[1])
            os.write(pids[1], str(pid).encode())
            signal.pause()
        sentinel = int(os.read(pids[0], 20))
        os.kill(guardian, signal.SIGKILL)
        os.waitpid(guardian, 0)
        # The writer died with the guardian, so it becomes the sweeper: it is there, and now ours.
        found, status = os.waitpid(sentinel, 0)
        return [found == sentinel, os.WIFEXITED(status)]

    assert alone(orphan) == [True, True]


def test_sentinels_one_after_another(sweeper: Path) -> None:
    """The end of one is seen once, and when none stays alive there is no use in another."""

    def row(executable: str) -> list[Any]:
        import os
        import signal
        import sys

        from launcher.lifeline import Sentinels

        sys.executable = executable
        sentinels = Sentinels([])
        seen: list[Any] = [sentinels.has_ended()]
        for _ in range(6):
            os.close(sentinels.start())
            assert sentinels.pid is not None
            os.waitid(os.P_PID, sentinels.pid, os.WEXITED | os.WNOWAIT)
            seen.append([sentinels.has_ended(), sentinels.has_ended(), sentinels.is_worth_another()])
        writer = sentinels.start()
        pid = sentinels.pid
        sentinels.end()
        sentinels.end()
        os.close(writer)
        return [*seen, sentinels.pid, os.path.exists(f"/proc/{pid}"), signal.SIGKILL]

    worth, useless = [True, False, True], [True, False, False]
    assert alone(row, sys.executable) == [False, *[worth] * 5, useless, None, False, signal.SIGKILL]


def test_one_that_cannot_be_leaves_no_pipe(sweeper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the caller's, and nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))

    def refuse() -> int:
        raise BlockingIOError(11, "no process can be")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        start_sentinel([json.dumps({})])
    assert len(os.listdir("/proc/self/fd")) == before
