"""Space kept for the day the disk is full: a file that is given up so that deleting can go on.

It decides when the space is given up and when it is taken again. A full disk refuses every write, deletions
included, as those need room in the write-ahead log first; so without a reserve only another program's files
could mend it. It does not know SQL.
"""

import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE_NAME: Final = "memory.db-ballast"
DEFAULT_BYTES: Final = 64 << 20
"""Room for the log of some hundred thousand deletions."""


class Ballast:
    """`size_bytes` of the disk that `folder` lies on, taken by a file there; 0 takes none."""

    def __init__(self, folder: Path, size_bytes: int = DEFAULT_BYTES) -> None:
        self._file = folder / FILE_NAME
        self._size_bytes = size_bytes
        self._is_held = self._is_whole()

    @property
    def is_held(self) -> bool:
        """Whether the space is taken, so that it could be given up."""
        return self._is_held

    def hold(self) -> bool:
        """Take the space if the disk has twice as much to spare; returns whether it is taken now."""
        if not self._is_held and self._size_bytes and self._spare_bytes() >= 2 * self._size_bytes:
            try:
                self._fill()
            except OSError as error:
                log.warning("no space could be kept for a full disk in %s (%s)", self._file, error)
                self._file.unlink(missing_ok=True)
            else:
                self._is_held = True
        return self._is_held

    def give_up(self) -> bool:
        """Free the space; returns whether there was any."""
        was_held, self._is_held = self._is_held, False
        self._file.unlink(missing_ok=True)
        return was_held

    def _is_whole(self) -> bool:
        try:
            size = self._file.stat().st_size
        except FileNotFoundError:
            return False
        if size == self._size_bytes and size:
            return True
        # Of another size since the option was changed, or cut short by a crash.
        self._file.unlink()
        return False

    def _spare_bytes(self) -> int:
        disk = os.statvfs(self._file.parent)
        return disk.f_bavail * disk.f_frsize

    def _fill(self) -> None:
        place = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Blocks, not a hole: only those are there when they are needed.
            os.posix_fallocate(place, 0, self._size_bytes)
        finally:
            os.close(place)
