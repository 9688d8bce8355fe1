"""SQLite's own checks of a file: what each of them looks at, and how a long one is cut short.

It decides the statements; it does not know what follows from a finding. The check of the structure reads
every page: order and form of all b-trees, the rows' records, the list of free pages. The complete one also
compares every index with its table and takes several times as long
(https://www.sqlite.org/pragma.html#pragma_integrity_check). Neither knows the rows' own checksums, which are
checked whenever a row is read.
"""

import threading
from typing import Final

import apsw

CACHE_KIB: Final = 16_384
"""Pages kept while an index is compared with its table; with SQLite's 2 MiB most are read several times."""


class IntegrityCheck:
    """The complete check of one file, one at a time; `stop` may be called from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._is_stopped = False

    def complete(self, connection: apsw.Connection) -> str | None:
        """Return "ok" or the first thing that is wrong, None if it was stopped before."""
        before = connection.pragma("cache_size")
        connection.pragma("cache_size", -CACHE_KIB)
        with self._lock:
            if self._is_stopped:
                return None
            self._connection = connection
        try:
            return str(connection.execute("PRAGMA integrity_check(1)").fetchall()[0][0])
        except apsw.InterruptError:
            return None
        finally:
            with self._lock:
                self._connection = None
            connection.pragma("cache_size", before)

    def stop(self) -> None:
        """Cut the check short that is going on, and any later one."""
        with self._lock:
            self._is_stopped = True
            if self._connection is not None:
                self._connection.interrupt()


def structure_finding(connection: apsw.Connection) -> str:
    """Return "ok" or the first thing that is wrong with the structure."""
    return str(connection.execute("PRAGMA quick_check(1)").fetchall()[0][0])
