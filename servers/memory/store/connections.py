"""The open file of the SQLite store: one writing connection, reading connections as threads need them.

It decides how a connection is set up and when it is given up; it does not know what is read or written.
Only the writer checkpoints, and it is never two at once: SQLite before 3.51.3 could corrupt a file whose
log was reset by two.
"""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import apsw

from servers.errors import StorageError

T = TypeVar("T")

BUSY_TIMEOUT_MS: Final = 5_000
"""How long another program (a backup tool, the sqlite3 command) may keep the file busy, in milliseconds."""
PAGE_BYTES: Final = 8_192
"""Holds a memory with its 384 floats in one page more often than SQLite's default of 4096 does."""
WAL_LIMIT_BYTES: Final = 64 << 20
"""To what size the write-ahead log is cut after a burst, in bytes."""

SYNCHRONOUS: Final = "FULL"
"""A commit ends with a sync of the log; anything less loses acknowledged memories in a power cut."""
CHECKPOINT_PAGES: Final = 4_096
"""After how many pages in the log a commit moves them into the file: 32 MiB, four times SQLite's default.

Pages that change often, those of the indexes, are then moved a quarter as often, and fewer commits wait.
"""


class Connections:
    """Connections to one file; opens the writer at once. `vfs` names a SQLite VFS. Raises apsw.Error."""

    def __init__(self, file: Path, vfs: str | None = None) -> None:
        self._file = file
        self._vfs = vfs
        self._is_closed = False
        self._idle_readers: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        self._writer: apsw.Connection | None = self._open_writer()
        self._anchor = self._open_anchor()

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """Give the writer inside a transaction that is on the disk when the block ends; one thread at a time.

        Any error gives the connection up, and with it the transaction: the kernel reports a failed fsync
        once and drops the pages, so the file must be opened afresh before anything else is promised.
        """
        if self._is_closed:
            raise StorageError("The store is closed.")
        writer = self._writer or self._open_writer()
        self._writer = writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            yield writer
            writer.execute("COMMIT")
        except BaseException:
            self._give_up_writer()
            raise

    def on_writer(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on the writer outside any transaction; for what brings its own, such as migrations."""
        if self._writer is None:
            self._writer = self._open_writer()
        return work(self._writer)

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Give a connection that only reads, to this thread alone; it sees what is committed."""
        if self._is_closed:
            raise StorageError("The store is closed.")
        try:
            reader = self._idle_readers.get_nowait()
        except queue.Empty:
            reader = self._open_reader()
        try:
            yield reader
        except BaseException:
            reader.close(True)
            raise
        self._idle_readers.put(reader)
        if self._is_closed:
            self._close_readers()

    @contextmanager
    def apart(self) -> Iterator[apsw.Connection]:
        """Give a connection of its own to work that is long and rare, such as a backup."""
        if self._is_closed:
            raise StorageError("The store is closed.")
        connection = self._connect()
        try:
            connection.pragma("wal_autocheckpoint", 0)
            yield connection
        finally:
            connection.close(True)

    def close(self) -> None:
        """Close every connection, the writer last: it moves the log into the file."""
        self._is_closed = True
        self._close_readers()
        self._anchor.close(True)
        self._give_up_writer()

    def _close_readers(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._idle_readers.get_nowait().close(True)

    def _give_up_writer(self) -> None:
        if self._writer is not None:
            self._writer.close(True)
            self._writer = None

    def _open_writer(self) -> apsw.Connection:
        connection = self._connect()
        connection.pragma("page_size", PAGE_BYTES)
        if connection.pragma("journal_mode", "wal") != "wal":
            connection.close(True)
            raise apsw.CantOpenError("this filesystem does not support SQLite's write-ahead log")
        connection.pragma("synchronous", SYNCHRONOUS)
        connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        connection.pragma("journal_size_limit", WAL_LIMIT_BYTES)
        # What a savepoint needs to undo one operation of a group stays in memory: as a file it would be
        # written anew for every row, nine times what the row itself takes.
        connection.pragma("temp_store", "MEMORY")
        return connection

    def _open_anchor(self) -> apsw.Connection:
        """A reader that only stays open: with it the shared memory, which says where the log ends.

        Without it a writer that is opened afresh after a failed sync would read the log from the start, find
        the refused group there, complete but never synced, and bring it back.
        """
        anchor = self._open_reader()
        anchor.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        return anchor

    def _open_reader(self) -> apsw.Connection:
        connection = self._connect()
        connection.pragma("query_only", True)
        connection.pragma("wal_autocheckpoint", 0)
        return connection

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._file), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return connection
