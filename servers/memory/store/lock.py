"""One process at a time in a data folder: a kernel lock on a file that names its holder.

It decides who may open the folder; it does not know what lies in it. The lock is the kernel's (`flock`), so
it ends with the process, however that ends; the text in the file only names the holder.
"""

import fcntl
import json
import os
import select
import sys
from pathlib import Path
from typing import Final

from servers.errors import StoreUnusable

LOCK_WAIT_S: Final = 3.0
"""How long a predecessor may take to die, in seconds."""


class FolderLock:
    """Holds the lock of a folder from construction until `release`.

    A holder that is about to end is waited for, at most `wait_s` seconds; then StoreUnusable names it.
    """

    def __init__(self, file: Path, wait_s: float = LOCK_WAIT_S) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._try() and not (_ended(self._holder(), wait_s) and self._try()):
            holder = self._holder()
            os.close(self._fd)
            raise StoreUnusable(
                what=f"another process has this memory store open: {_named(holder)}",
                where=str(file.parent),
                mend="stop that process, or choose another folder with the option `path`",
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "command": sys.orig_argv[:8]}).encode(), 0)

    def release(self) -> None:
        """Let the next process in. Calling it twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> dict[str, object]:
        try:
            holder = json.loads(os.pread(self._fd, 65536, 0))
        except ValueError:  # the holder is writing this very moment, or was killed while it did
            return {}
        return holder if isinstance(holder, dict) else {}


def _ended(holder: dict[str, object], wait_s: float) -> bool:
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # not permitted to watch it: it lives, and it is somebody else's
        return False
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))
    finally:
        os.close(process)


def _named(holder: dict[str, object]) -> str:
    command = holder.get("command")
    words = " ".join(str(word) for word in command) if isinstance(command, list) else "unknown command"
    return f"process {holder.get('pid', 'unknown')} ({words})"
