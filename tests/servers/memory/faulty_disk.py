"""A disk under SQLite on which something happens at an exact write or sync: an error, or the end.

The operations of the file and of its write-ahead log are counted together, from the moment a test says so.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Literal

import apsw

Kind = Literal["write", "sync"]

_names = (f"faulty-{number}" for number in count())


class FaultyDisk:
    """Calls `at_fault` in place of the operation number `fault_at` (from 1 on, counted after `arm`)."""

    def __init__(self) -> None:
        self.name = next(_names)
        self.operations: list[Kind] = []
        self._fault_at: int | None = None
        self._at_fault: Callable[[Kind], None] = lambda kind: None

    def arm(self, fault_at: int, at_fault: Callable[[Kind], None]) -> None:
        """Count from here; `at_fault` raises what the operation fails with, or does not return."""
        self.operations.clear()
        self._fault_at, self._at_fault = fault_at, at_fault

    def note(self, kind: Kind) -> None:
        """Count one operation; its fault, if this is the one, comes before anything reaches the disk."""
        self.operations.append(kind)
        if len(self.operations) == self._fault_at:
            self._at_fault(kind)


@contextmanager
def faulty(disk: FaultyDisk) -> Iterator[FaultyDisk]:
    """The disk as the SQLite VFS of its name."""
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return _File(self._disk, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.note("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._disk.note("sync")
        super().xSync(flags)
