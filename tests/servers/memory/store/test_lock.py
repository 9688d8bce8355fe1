"""The lock of a data folder: one process at a time, and the holder is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.errors import StoreUnusable
from servers.memory.store.lock import FolderLock

HOLDER = """
import sys
from pathlib import Path
from servers.memory.store.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def start_holder(file: Path) -> "subprocess.Popen[str]":
    """A process that holds the lock until its standard input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    """The refusal names the holder's pid and command."""
    with start_holder(tmp_path / "lock") as holder:
        with pytest.raises(StoreUnusable, match=f"process {holder.pid}") as caught:
            FolderLock(tmp_path / "lock", wait_s=0.0)
        assert os.path.basename(sys.executable) in str(caught.value)
        assert caught.value.exit_code == 78
        holder.kill()


def test_a_dying_predecessor_is_waited_for(tmp_path: Path) -> None:
    """A holder that ends within the wait gives the lock to whoever waits."""
    with start_holder(tmp_path / "lock") as holder:
        assert holder.stdin is not None
        holder.stdin.close()
        FolderLock(tmp_path / "lock", wait_s=30.0).release()


def test_a_killed_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    """The lock is the kernel's: after SIGKILL the folder is free, whatever the file says."""
    with start_holder(tmp_path / "lock") as holder:
        holder.kill()
        holder.wait()
    FolderLock(tmp_path / "lock", wait_s=0.0).release()


def test_releasing_lets_the_next_one_in(tmp_path: Path) -> None:
    """Release ends the hold, and a second release does nothing."""
    lock = FolderLock(tmp_path / "lock")
    with pytest.raises(StoreUnusable):
        FolderLock(tmp_path / "lock", wait_s=0.0)
    lock.release()
    lock.release()
    FolderLock(tmp_path / "lock", wait_s=0.0).release()


def test_an_unreadable_holder_is_still_refused(tmp_path: Path) -> None:
    """The kernel's lock counts, not the text in the file."""
    lock = FolderLock(tmp_path / "lock")
    (tmp_path / "lock").write_text("{ half a JS")
    with pytest.raises(StoreUnusable, match="unknown"):
        FolderLock(tmp_path / "lock", wait_s=0.0)
    lock.release()
