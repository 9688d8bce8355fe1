"""launcher.sentinel: what is left of a stack is ended, and told; a stack that has an owner is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.running.journal import JournalEntry, read_journal, write_journal
from launcher.runtime_dir import OwnerLock, RuntimePaths, create_runtime_dir, read_owner_pid
from launcher.sentinel import main

NONCE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a stack whose runtime files are in a folder of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "config.yaml"


@pytest.fixture
def paths(config: Path) -> RuntimePaths:
    """Its runtime files."""
    return create_runtime_dir(config)


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    """A program of the stack that nobody has ended."""
    argv = [sys.executable, "-S", "-c", "import signal; print(flush=True); signal.pause()"]
    with subprocess.Popen(argv, env={"LUCID_NONCE": NONCE}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_is_left_is_ended_and_told(
    config: Path, paths: RuntimePaths, left: subprocess.Popen[bytes]
) -> None:
    """The next `up` hears of the dead guardian and of each process; then the stack is free and clean."""
    write_journal(paths.journal, [JournalEntry("a", left.pid, 1, NONCE)])
    paths.lock.write_text("4711\n")
    assert main(["--config", str(config), "--strict-ports"]) == 0
    assert left.wait() == -9
    first, second = paths.notes.read_text().splitlines()
    assert "(pid 4711) was killed" in first
    assert f"(pid {left.pid}) of a" in second
    assert read_journal(paths.journal)[0].entries == []
    assert (read_owner_pid(paths), paths.lock.read_text()) == (None, "")


def test_notes_that_are_there_stay(config: Path, paths: RuntimePaths) -> None:
    """What a guardian had to say before is not lost."""
    paths.notes.write_text("the guardian stops everything: it had to\n")
    paths.lock.write_text("4711\n")
    main(["--config", str(config)])
    assert len(paths.notes.read_text().splitlines()) == 2


def test_a_stack_with_an_owner_is_left_alone(
    config: Path, paths: RuntimePaths, left: subprocess.Popen[bytes]
) -> None:
    """Somebody has taken it meanwhile, who cleans up."""
    lock = OwnerLock(paths, config, 4712)
    write_journal(paths.journal, [JournalEntry("a", left.pid, 1, NONCE)])
    assert main(["--config", str(config)]) == 1
    assert left.poll() is None
    assert not paths.notes.exists()
    assert read_owner_pid(paths) == 4712
    lock.release()
