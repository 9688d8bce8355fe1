"""A child's output: two pipes always drained into one log, the last lines of stderr at hand.

Decides that the reader never waits for anybody, and that a pipe's end and a process's end are separate:
whoever still holds the pipe is still read. With spools, what was read is in memory that outlives this process
until it is in the log; see `spool`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from launcher.logfiles import LineSink, LogFile
from launcher.logs.line_format import LineSplitter, format_line, stamp
from launcher.spool import Spool

__all__ = ["TAIL_LINES", "OutputReader", "Stream", "open_spools"]

Piece = tuple[bytes, bool]
"""A line or a part of one, and whether it goes on with the piece before."""

TAIL_LINES = 20
_READ_BYTES = 64 * 1024
_TAIL_LINE_CHARS = 2000


def open_spools(log: LogFile, held: Sequence[int]) -> list[Spool]:
    """Return the spools of stdout and stderr, new ones or those of the supervisor before, whose unfinished
    append to `log` is taken back. Raises OSError when there is no memory.
    """
    spools = [Spool(fd) for fd in held or (None, None)]
    for spool in spools:
        if (pending := spool.pending) is not None:
            log.undo(pending)
            spool.forget()
    return spools


class OutputReader:
    """Reads one generation's two pipes into a log until both end or `close`; owns the descriptors."""

    def __init__(
        self,
        stdout_fd: int,
        stderr_fd: int,
        log: LineSink,
        on_end: Callable[[], None],
        spools: Sequence[Spool] = (),
    ) -> None:
        """Start reading on the running loop; `on_end` is called once, when both pipes have ended.

        What the spools still hold of a reader before goes to the log first.
        """
        self.stderr_tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.on_stderr: Callable[[str], None] | None = None
        """Hears every piece of a line of stderr too, while it is set."""
        self._log = log
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        out, err = spools or (None, None)
        self._open = {stdout_fd: Stream("stdout", log, out), stderr_fd: Stream("stderr", log, err)}
        for fd, stream in self._open.items():
            os.set_blocking(fd, False)
            self._remember(stream, stream.resume())
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
        stream = self._open[fd]
        try:
            pieces = stream.pump(fd)
        except BlockingIOError:
            return False
        if pieces is not None:
            self._remember(stream, pieces)
            return True
        self._finish(fd)
        if not self._open:
            self._on_end()
        return False

    def _finish(self, fd: int) -> None:
        stream = self._open.pop(fd)
        self._loop.remove_reader(fd)
        os.close(fd)
        self._remember(stream, stream.finish())

    def _remember(self, stream: Stream, pieces: list[Piece]) -> None:
        if stream.name == "stderr":
            for text, _ in pieces if self.on_stderr else pieces[-TAIL_LINES:]:
                shown = text[:_TAIL_LINE_CHARS].decode("utf-8", "backslashreplace")
                self.stderr_tail.append(shown)
                if self.on_stderr is not None:
                    self.on_stderr(shown)


class Stream:
    """One pipe on its way into a log: the unfinished line, and the account of what is in the log already.

    A process that is killed anywhere in here leaves a spool with which the next one goes on exactly.
    """

    def __init__(self, name: str, log: LineSink, spool: Spool | None) -> None:
        """Bring lines into `log` under `name`; without a spool a death may cost what was just read."""
        self.name = name
        self._log = log
        self._spool = spool
        self._splitter = LineSplitter()
        self._pieces: list[Piece] = []
        self._done_bytes = 0

    def resume(self) -> list[Piece]:
        """Bring into the log what a reader before took and did not; returns its pieces."""
        if self._spool is None:
            return []
        self._splitter.is_continued = self._spool.is_continued
        return self._keep(self._splitter.feed(self._spool.left()))

    def pump(self, fd: int) -> list[Piece] | None:
        """Bring one bounded read of the pipe into the log; returns its pieces, or None at the pipe's end.

        Raises BlockingIOError when there is nothing now.
        """
        data = self._take(fd)
        return self._keep(self._splitter.feed(data)) if data else None

    def finish(self) -> list[Piece]:
        """Bring the line that no newline ended into the log."""
        return self._keep(self._splitter.flush())

    def begin(self, inode: int, offset: int) -> None:
        """An append is about to be made (`logfiles.Account`)."""
        if self._spool is not None:
            self._spool.begin(inode, offset)

    def done(self, lines: int) -> None:
        """So many lines of this write are dealt with (`logfiles.Account`)."""
        if self._spool is not None:
            is_last = lines == len(self._pieces)
            is_continued = self._splitter.is_continued if is_last else self._pieces[lines][1]
            end = self._splitter.ends[lines - 1]
            self._spool.advance(end - self._done_bytes, is_continued=is_continued)
            self._done_bytes = end

    def _take(self, fd: int) -> bytes:
        if self._spool is not None:
            try:
                return self._spool.take(fd, _READ_BYTES)
            except BlockingIOError:
                raise
            except OSError:
                # No memory: the output goes on, at the risk of what is in our hands should we be killed.
                self._spool.advance(len(self._splitter.rest), is_continued=False)
                self._spool.carry(b"")
                self._spool = None
        return os.read(fd, _READ_BYTES)

    def _keep(self, pieces: list[Piece]) -> list[Piece]:
        if pieces:
            at = stamp(time.time())
            lines = [format_line(at, self.name, text, is_continued) for text, is_continued in pieces]
            self._pieces, self._done_bytes = pieces, 0
            self._log.write(lines, None if self._spool is None else self)
        if self._spool is not None:
            self._spool.carry(self._splitter.rest)
        return pieces
