"""A child's log file: rotated by size, never waited for, and exact about what it could not take.

Decides that nobody waits for a disk: when the file cannot be written lines are counted as dropped, and the
count is written down as soon as there is room. An `Account` hears of every append before and after it, so
that one that was cut off can be undone. The form of a line is `logs.line_format`; who reads the pipes is
`output`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from launcher.logs.line_format import format_line, stamp
from launcher.spool import Pending

__all__ = ["Account", "LineSink", "LogFile"]


class LogFile:
    """One child's log file with its backups `.1` (newest) to `.n`; survives the generations of the child."""

    def __init__(self, path: Path, max_size_bytes: int, backups: int) -> None:
        """Append to `path`; the folder is made when it is missing. Never raises for a bad disk: see
        `dropped`.
        """
        self.path = path
        self.dropped = 0
        """Lines that could not be written, ever."""
        self.last_error: str | None = None
        self._unreported = 0
        self._max_size_bytes = max_size_bytes
        self._backups = backups
        self._fd: int | None = None
        self._size = self._inode = 0

    def configure(self, max_size_bytes: int, backups: int) -> None:
        """Change the limits; they hold from the next write on."""
        self._max_size_bytes, self._backups = max_size_bytes, backups

    def move_to(self, path: Path) -> None:
        """Go on under another name; the past comes along unless there is one of that name already."""
        self.close()
        with suppress(OSError):
            if not path.exists():
                for number in range(self._backups, 0, -1):
                    if self._backup(number).exists():
                        self._backup(number).replace(path.with_name(f"{path.name}.{number}"))
                self.path.replace(path)
        self.path = path

    def mark(self, text: str) -> None:
        """Write a line of our own, such as a restart, under the stream `lucid`."""
        self.write([format_line(stamp(time.time()), "lucid", text.encode("utf-8", "backslashreplace"))])

    def undo(self, pending: Pending) -> None:
        """Take back an append that a supervisor before this one may have begun; nothing may follow it."""
        for path in (self.path, *map(self._backup, range(1, self._backups + 1))):
            with suppress(OSError):
                facts = path.stat()
                if facts.st_ino == pending.inode and facts.st_size > pending.offset:
                    os.truncate(path, pending.offset)
        self.close()

    def write(self, lines: list[bytes], account: Account | None = None) -> None:
        """Append complete lines, rotating before a line that would pass the size; counts what cannot be
        written. `account` hears of each append before and after.
        """
        done = 0
        if self._unreported:
            report = format_line(stamp(time.time()), "lucid", self._report().encode())
            if self._append(report):
                self._unreported = 0
        batch: list[bytes] = []
        batch_bytes = 0
        for line in lines:
            if batch and self._size + batch_bytes + len(line) > self._max_size_bytes:
                done = self._write_batch(batch, done, account)
                batch, batch_bytes = [], 0
            batch.append(line)
            batch_bytes += len(line)
        if batch:
            self._write_batch(batch, done, account)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write_batch(self, batch: list[bytes], done: int, account: Account | None) -> int:
        """Write a batch, after `done` lines that were before it; returns how many are done with it."""
        if not self._append(b"".join(batch), account):
            self.dropped += len(batch)
            self._unreported += len(batch)
        done += len(batch)
        if account is not None:
            account.done(done)
        return done

    def _append(self, data: bytes, account: Account | None = None) -> bool:
        """Write all of `data` or, as far as the file system allows, none of it."""
        try:
            if self._fd is None:
                self._open()
            if self._size and self._size + len(data) > self._max_size_bytes:
                self._rotate()
            if account is not None:
                account.begin(self._inode, self._size)
            self._write_whole(data)
        except OSError as error:
            self.last_error = error.strerror or str(error)
            return False
        return True

    def _write_whole(self, data: bytes) -> None:
        assert self._fd is not None
        before, view = self._size, memoryview(data)
        try:
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
        except OSError:
            # Half a line would run into the next one.
            os.ftruncate(self._fd, before)
            self._size = before
            raise

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o640)
        facts = os.fstat(self._fd)
        self._inode, self._size = facts.st_ino, facts.st_size

    def _rotate(self) -> None:
        """Shift the backups by one; the oldest is overwritten, and with none kept the file starts anew."""
        self.close()
        if self._backups == 0:
            self.path.unlink(missing_ok=True)
        for number in range(self._backups, 0, -1):
            source = self.path if number == 1 else self._backup(number - 1)
            if source.exists():
                source.replace(self._backup(number))
        self._open()

    def _backup(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _report(self) -> str:
        lines = "1 line was" if self._unreported == 1 else f"{self._unreported} lines were"
        return f"{lines} lost, as this file could not be written: {self.last_error}"


class Account(Protocol):
    """Who notes how far the lines of one `write` have come."""

    def begin(self, inode: int, offset: int) -> None:
        """The next lines are about to be appended to the file `inode`, which is `offset` bytes long."""

    def done(self, lines: int) -> None:
        """So many of the lines are in the file, or were dropped."""


class LineSink(Protocol):
    """Where an `OutputReader` puts its lines."""

    def write(self, lines: list[bytes], account: Account | None = None) -> None:
        """Take complete lines; must not wait and must not raise."""
