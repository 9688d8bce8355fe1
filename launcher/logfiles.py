"""A child's output: two pipes always drained, one file rotated by size, the last lines of stderr at hand.

Decides that the reader never waits for anybody: when the file cannot be written (a full disk) lines are
counted as dropped and reading goes on, and the count is written down as soon as there is room. A pipe's end
and a process's end are separate: whoever still holds the pipe is still read. The form of a line is
`logs.line_format`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from launcher.logs.line_format import LineSplitter, format_line, stamp

__all__ = ["TAIL_LINES", "LineSink", "LogFile", "OutputReader"]

TAIL_LINES = 20
_READ_BYTES = 64 * 1024
_TAIL_LINE_CHARS = 2000


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
        self._size = 0

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

    def write(self, lines: list[bytes]) -> None:
        """Append complete lines, rotating before a line that would pass the size; counts what cannot be
        written.
        """
        if self._unreported:
            report = format_line(stamp(time.time()), "lucid", self._report().encode())
            if self._append(report):
                self._unreported = 0
        batch: list[bytes] = []
        batch_bytes = 0
        for line in lines:
            if batch and self._size + batch_bytes + len(line) > self._max_size_bytes:
                self._write_batch(batch)
                batch, batch_bytes = [], 0
            batch.append(line)
            batch_bytes += len(line)
        if batch:
            self._write_batch(batch)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write_batch(self, batch: list[bytes]) -> None:
        if not self._append(b"".join(batch)):
            self.dropped += len(batch)
            self._unreported += len(batch)

    def _append(self, data: bytes) -> bool:
        """Write all of `data` or, as far as the file system allows, none of it."""
        try:
            if self._fd is None:
                self._open()
            if self._size and self._size + len(data) > self._max_size_bytes:
                self._rotate()
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
        self._size = os.fstat(self._fd).st_size

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


class LineSink(Protocol):
    """Where an `OutputReader` puts its lines."""

    def write(self, lines: list[bytes]) -> None:
        """Take complete lines; must not wait and must not raise."""


class OutputReader:
    """Reads one generation's two pipes into a log file until both end or `close`; owns the descriptors."""

    def __init__(self, stdout_fd: int, stderr_fd: int, log: LineSink, on_end: Callable[[], None]) -> None:
        """Start reading on the running loop; `on_end` is called once, when both pipes have ended."""
        self.stderr_tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.on_stderr: Callable[[str], None] | None = None
        """Hears every piece of a line of stderr too, while it is set."""
        self._log = log
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._open = {stdout_fd: ("stdout", LineSplitter()), stderr_fd: ("stderr", LineSplitter())}
        for fd in self._open:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._read, fd)

    def close(self) -> None:
        """Read what is left in the pipes without waiting, then close them."""
        for fd in list(self._open):
            while fd in self._open and self._read(fd):
                pass
        for fd in list(self._open):
            self._finish(fd)

    def _read(self, fd: int) -> bool:
        """Read one bounded piece, so that no child can hold the loop; False when there is nothing now."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        stream, splitter = self._open[fd]
        if data:
            self._keep(stream, splitter.feed(data))
            return True
        self._finish(fd)
        if not self._open:
            self._on_end()
        return False

    def _finish(self, fd: int) -> None:
        stream, splitter = self._open.pop(fd)
        self._loop.remove_reader(fd)
        os.close(fd)
        self._keep(stream, splitter.flush())

    def _keep(self, stream: str, pieces: list[tuple[bytes, bool]]) -> None:
        if not pieces:
            return
        at = stamp(time.time())
        self._log.write([format_line(at, stream, text, is_continued) for text, is_continued in pieces])
        if stream == "stderr":
            for text, _ in pieces if self.on_stderr else pieces[-TAIL_LINES:]:
                shown = text[:_TAIL_LINE_CHARS].decode("utf-8", "backslashreplace")
                self.stderr_tail.append(shown)
                if self.on_stderr is not None:
                    self.on_stderr(shown)
