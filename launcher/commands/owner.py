"""The supervisor's process as seen from outside: a pidfd that becomes readable when it has ended."""

import os
import select
from pathlib import Path

from launcher.runtime_dir import read_owner_pid, runtime_paths


class Owner:
    """The process that holds the lock of a config file; `pid` and `descriptor` stay valid until `close`."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor

    def wait_gone(self, timeout_s: float) -> bool:
        """Whether the process ends within `timeout_s` seconds."""
        readable, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_s))
        return bool(readable)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def find_owner(config_path: Path) -> Owner | None:
    """The supervisor of this config file; None when there is none."""
    pid = read_owner_pid(runtime_paths(config_path))
    if pid is None:
        return None
    try:
        return Owner(pid, os.pidfd_open(pid))
    except ProcessLookupError:
        return None
