"""The supervisor's own log file, `logs/supervisor.log`: stdout and stderr as given to us, kept small.

Decides that it is rotated like a child's, by moving both descriptors to a fresh file, and that output that
goes elsewhere (a terminal, a pipe, another file) is nobody's business. What Python itself prints while it
crashes goes the same way.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["OwnLog"]

_STDOUT, _STDERR = 1, 2


class OwnLog:
    """Writes to stdout; where that is the log file `path`, keeps it under `max_size_bytes`."""

    def __init__(self, path: Path | None, max_size_bytes: int = 10_000_000, backups: int = 5) -> None:
        """Go on in `path` itself when whoever started us still had a file that was rotated meanwhile; without
        a path nothing is rotated.
        """
        self._path = Path(os.devnull) if path is None else path
        self._max_size_bytes = max_size_bytes
        self._backups = 0 if path is None else backups
        if path is None:
            return
        with suppress(OSError):
            facts = os.fstat(_STDOUT)
            was_deleted = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0
            numbers = range(1, backups + 1)
            if was_deleted or any(self._is_stdout(self._backup(number)) for number in numbers):
                self._reopen()

    def write(self, line: bytes) -> None:
        """Write one line; a full disk must not end the supervisor."""
        with suppress(OSError):
            os.write(_STDOUT, line)
            if os.fstat(_STDOUT).st_size > self._max_size_bytes and self._is_stdout(self._path):
                self._rotate()

    def _rotate(self) -> None:
        for number in range(self._backups, 0, -1):
            source = self._path if number == 1 else self._backup(number - 1)
            if source.exists():
                source.replace(self._backup(number))
        self._reopen()

    def _reopen(self) -> None:
        """Point stdout, and stderr where it went the same way, at a fresh file."""
        before = os.fstat(_STDOUT)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            if os.path.samestat(os.fstat(_STDERR), before):
                os.dup2(fd, _STDERR)
            os.dup2(fd, _STDOUT)
        finally:
            os.close(fd)

    def _is_stdout(self, path: Path) -> bool:
        facts = os.fstat(_STDOUT)
        return stat.S_ISREG(facts.st_mode) and path.exists() and os.path.samestat(facts, path.stat())

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
