"""One stream's bytes between a pipe and a log file, in memory that outlives the process that moves them.

Decides how a supervisor may be killed at any instruction without a line lost, torn or written twice. The
bytes are spliced from the pipe into a memory file (memfd_create(2)) that the guardian holds as well, so no
instant exists at which only this process has them, and the file's own length says how many there are. Before
lines are appended to the log, the log's inode and length are noted; a single store of eight bytes then says
that they are there. Whoever comes after undoes an append that was not finished, and makes it again. Positions
are of the whole stream. Knows nothing of lines but that some of the last bytes are kept for the next time.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

__all__ = ["Pending", "Spool"]

_HEADER_BYTES = mmap.PAGESIZE
_CARRY_BYTES = 72 * 1024
_DATA = _HEADER_BYTES + 2 * _CARRY_BYTES
_WORD = struct.Struct("@Q")  # native, or it would be stored byte by byte
# The words of the header.
_HEAD, _BASE, _SLOT, _PENDING_INODE, _PENDING_OFFSET, _PENDING_START, _CARRIES = range(0, 56, 8)


@dataclass(frozen=True)
class Pending:
    """An append that may have been cut off: to the file `inode`, which was `offset` bytes long before."""

    inode: int
    offset: int


class Spool:
    """The memory file of one stream; for one thread of one process at a time."""

    def __init__(self, held: int | None = None) -> None:
        """Begin with an empty file, or go on with one that another process left; raises OSError."""
        self._fd = os.memfd_create("lucid-spool", os.MFD_CLOEXEC) if held is None else held
        if held is None:
            os.ftruncate(self._fd, _DATA)
        self._header = mmap.mmap(self._fd, _HEADER_BYTES)
        if held is None:
            self._put(_PENDING_START, 1)
        self._length = os.fstat(self._fd).st_size - _DATA
        if self._length == 0:
            self._put(_BASE, max(self._get(_BASE), self._end_of_carry()))

    def fileno(self) -> int:
        """The descriptor that the guardian is to keep too."""
        return self._fd

    @property
    def is_continued(self) -> bool:
        """Whether the bytes at the head go on with a line that was written in part."""
        return bool(self._get(_HEAD) & 1)

    @property
    def pending(self) -> Pending | None:
        """The append that was begun and not finished."""
        if self._get(_PENDING_START) != self._get(_HEAD) + 2:
            return None
        return Pending(self._get(_PENDING_INODE), self._get(_PENDING_OFFSET))

    def take(self, pipe_fd: int, limit: int) -> bytes:
        """Move at most `limit` bytes out of a pipe and return them; b"" at its end.

        Raises BlockingIOError when there is nothing now, and OSError when there is no memory.
        """
        count = os.splice(
            pipe_fd, self._fd, limit, offset_dst=_DATA + self._length, flags=os.SPLICE_F_NONBLOCK
        )
        data = os.pread(self._fd, count, _DATA + self._length)
        self._length += count
        return data

    def left(self) -> bytes:
        """Return the bytes that are taken and not known to be in the log."""
        head, base = self._get(_HEAD) >> 1, self._get(_BASE)
        carried = b""
        if head < base:
            at, length = self._carry(self._get(_SLOT))
            place = _HEADER_BYTES + self._get(_SLOT) * _CARRY_BYTES
            carried = os.pread(self._fd, length - (head - at), place + head - at)
        skipped = max(0, head - base)
        return carried + os.pread(self._fd, max(0, self._length - skipped), _DATA + skipped)

    def begin(self, inode: int, offset: int) -> None:
        """Lines that begin at the head are about to be appended to a file of this inode and length."""
        self._put(_PENDING_INODE, inode)
        self._put(_PENDING_OFFSET, offset)
        self._put(_PENDING_START, self._get(_HEAD) + 2)

    def advance(self, count: int, *, is_continued: bool) -> None:
        """The first `count` bytes after the head are in the log, or were given up."""
        self._put(_HEAD, ((self._get(_HEAD) >> 1) + count << 1) | is_continued)

    def forget(self) -> None:
        """The append that was begun was undone."""
        self._put(_PENDING_START, 1)

    def carry(self, rest: bytes) -> None:
        """Give the memory back but for `rest`, which are all the bytes after the head, at most 64 KiB."""
        head = self._get(_HEAD) >> 1
        if rest:
            slot = 1 - self._get(_SLOT)
            os.pwrite(self._fd, rest, _HEADER_BYTES + slot * _CARRY_BYTES)
            self._put(_CARRIES + slot * 16, head)
            self._put(_CARRIES + slot * 16 + 8, len(rest))
            self._put(_SLOT, slot)
        os.ftruncate(self._fd, _DATA)
        self._length = 0
        self._put(_BASE, head + len(rest))

    def close(self) -> None:
        """Give our hold back; whoever else holds the file still has what is in it."""
        self._header.close()
        os.close(self._fd)

    def _end_of_carry(self) -> int:
        """Where the data begins when the file is empty: it was killed before it could note that."""
        head = self._get(_HEAD) >> 1
        at, length = self._carry(self._get(_SLOT))
        return max(head, at + length)

    def _carry(self, slot: int) -> tuple[int, int]:
        return self._get(_CARRIES + slot * 16), self._get(_CARRIES + slot * 16 + 8)

    def _get(self, place: int) -> int:
        value: int = _WORD.unpack_from(self._header, place)[0]
        return value

    def _put(self, place: int, value: int) -> None:
        # Aligned, so one store: another process sees all of it or nothing.
        _WORD.pack_into(self._header, place, value)
