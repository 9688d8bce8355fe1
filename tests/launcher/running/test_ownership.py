"""launcher.running.ownership: one owner at a time, whose predecessor's mess is cleaned up and told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.children.handover import Handover
from launcher.errors import AlreadyOwned
from launcher.running.journal import JournalEntry, read_journal, write_journal
from launcher.running.ownership import keep_ownership, open_notes, own, take_notes, write_notes
from launcher.runtime_dir import OwnerLock, RuntimePaths, create_runtime_dir, read_owner_pid
from tests.launcher.running.bench import Bench

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
    """A program that a dead owner has left behind."""
    argv = [sys.executable, "-S", "-c", "import signal; print(flush=True); signal.pause()"]
    with subprocess.Popen(argv, env={"LUCID_NONCE": NONCE}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_free_stack_is_owned_by_the_guardian(config: Path, paths: RuntimePaths) -> None:
    """The lock names our parent, as its end is the end of the stack; there is nothing to tell."""
    descriptor, notes = own(paths, config, Handover())
    assert (read_owner_pid(paths), notes) == (os.getppid(), [])
    os.close(descriptor)
    assert read_owner_pid(paths) is None


def test_what_a_dead_owner_left_is_ended_and_told(
    config: Path, paths: RuntimePaths, left: subprocess.Popen[bytes]
) -> None:
    """First what somebody had to say, then that it died, then each process."""
    write_journal(paths.journal, [JournalEntry("a", left.pid, 1, NONCE)])
    paths.lock.write_text("4711\n")
    write_notes(paths, ["it had to be"])
    descriptor, notes = own(paths, config, Handover())
    assert left.wait() == -9
    assert len(notes) == 3
    assert notes[0] == "it had to be"
    assert "(pid 4711) was killed" in notes[1]
    assert f"(pid {left.pid}) of a" in notes[2]
    assert read_journal(paths.journal)[0].entries == []
    os.close(descriptor)


def test_a_lock_that_was_handed_over_is_gone_on_with(
    config: Path, paths: RuntimePaths, left: subprocess.Popen[bytes]
) -> None:
    """The children live: nothing is swept, and nothing told."""
    lock = OwnerLock(paths, config, 4711)
    write_journal(paths.journal, [JournalEntry("a", left.pid, 1, NONCE)])
    handover = Handover("died", {"lock": [lock.descriptor]})
    assert own(paths, config, handover) == (lock.descriptor, [])
    assert read_owner_pid(paths) == os.getppid()
    assert left.poll() is None
    assert handover.kept == {}
    lock.release()


def test_a_stack_with_an_owner_is_refused(
    config: Path, paths: RuntimePaths, left: subprocess.Popen[bytes]
) -> None:
    """Nothing of it is touched, and the refusal names the owner."""
    lock = OwnerLock(paths, config, 4711)
    write_journal(paths.journal, [JournalEntry("a", left.pid, 1, NONCE)])
    write_notes(paths, ["for the owner"])
    with pytest.raises(AlreadyOwned, match="4711"):
        own(paths, config, Handover())
    assert left.poll() is None
    assert take_notes(paths) == ["for the owner"]
    lock.release()


def test_notes_are_taken_once_and_added_to(paths: RuntimePaths) -> None:
    """Whoever writes later does not erase what is there; damage in a note does not hide the rest."""
    assert take_notes(paths) == []
    write_notes(paths, ["one", "two"])
    descriptor = open_notes(paths)
    os.write(descriptor, b"thr\xffee\n")
    os.close(descriptor)
    assert take_notes(paths) == ["one", "two", "thr\ufffdee"]
    assert take_notes(paths) == []


async def test_the_guardian_holds_lock_and_notes(bench: Bench, config: Path, paths: RuntimePaths) -> None:
    """The stack is owned for as long as it lives, and it can say why it had to give up."""
    post = bench.supervisor()
    lock = OwnerLock(paths, config, 4711)
    keep_ownership(post.parent, lock.descriptor, paths)
    assert sorted(word["name"] for word in post.words() if word["do"] == "keep") == ["lock", "notes"]
    os.write(post.parent.kept["notes"][0], b"it had to be\n")
    assert take_notes(paths) == ["it had to be"]
    for fds in post.parent.kept.values():
        os.close(fds[0])
