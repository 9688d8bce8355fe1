"""The connections of the PostgreSQL store: one that writes, some that read, all replaced when they break.

It decides when a connection is given up, how long another is waited for, and whether a commit whose answer
was lost took place. It does not know what is read or written. How one is opened is `postgres_database`'s.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar
from uuid import uuid4

import psycopg

from servers.errors import StorageError, StoreUnusable
from servers.memory.store.base import CommitUnknown
from servers.memory.store.postgres_database import Connection, Database
from servers.memory.store.postgres_schema import SCHEMA

log = logging.getLogger(__name__)

T = TypeVar("T")

RECONNECT_S: Final = 15.0
"""How long a server that went away is waited for: about what a failover takes, in seconds."""
RETRY_S: Final = 0.2
BROKEN: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
"""What tells that a connection, not a statement, has failed; a demoted primary is as good as gone."""


class PostgresConnections:
    """Connections to the database that `dsn` names (several hosts: the one that can be written to)."""

    def __init__(self, dsn: str, lock_wait_s: float) -> None:
        self._database = Database(dsn)
        self._lock_wait_s = lock_wait_s
        self._writer_name = str(uuid4())
        self._groups = 0
        self._closed = threading.Event()
        self._idle_readers: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._writer: Connection | None = self._database.open_writer(self._lock_wait_s)

    @contextmanager
    def on_writer(self) -> Iterator[Connection]:
        """Give the writer for work that brings its own transactions; given up when it breaks."""
        writer = self._living_writer()
        try:
            yield writer
        except BaseException:
            self._give_up_writer()
            raise

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction on the writer; returns once it is committed.

        When the answer to COMMIT is lost, the database is asked, after reconnecting, whether it took place.
        Raises psycopg.Error when nothing was kept, CommitUnknown when that could not be found out.
        """
        writer = self._living_writer()
        self._groups += 1
        try:
            writer.execute("BEGIN")
            result = work(writer)
            writer.execute(
                f"INSERT INTO {SCHEMA}.writers VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET last_group = excluded.last_group",
                (self._writer_name, self._groups),
            )
        except BaseException:
            self._give_up_writer()
            raise
        try:
            writer.execute("COMMIT")
        except BROKEN as error:
            self._give_up_writer()
            if not self._took_place(error):
                raise
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which only reads, on a connection of this thread; once more if the connection broke."""
        deadline = time.monotonic() + RECONNECT_S
        while True:
            try:
                with self.reading() as reader:
                    return work(reader)
            except BROKEN as error:
                self._drop_readers()
                if time.monotonic() > deadline:
                    raise
                log.warning("reading from PostgreSQL failed and is repeated: %s", str(error).strip())
                self._pause()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that only reads, to this thread alone."""
        self._refuse_when_closed()
        try:
            reader = self._idle_readers.get_nowait()
        except queue.Empty:
            reader = self._database.connect()
        try:
            yield reader
        except BaseException:
            reader.close()
            raise
        self._idle_readers.put(reader)
        if self._closed.is_set():
            self._drop_readers()

    def close(self) -> None:
        """Close every connection; the lock in the database goes with the writer."""
        self._closed.set()
        self._drop_readers()
        self._give_up_writer()

    def _living_writer(self) -> Connection:
        self._refuse_when_closed()
        if self._writer is not None and self._writer.broken:
            self._give_up_writer()
        if self._writer is None:
            self._writer = self._reopen_writer()
        return self._writer

    def _reopen_writer(self) -> Connection:
        deadline = time.monotonic() + RECONNECT_S
        while True:
            try:
                return self._database.open_writer(self._lock_wait_s)
            except BROKEN:
                if time.monotonic() > deadline:
                    raise
                self._pause()
            except StoreUnusable as error:
                raise StorageError(f"Another server has taken over the store: {error.what}.") from error

    def _took_place(self, cause: psycopg.Error) -> bool:
        log.warning("the answer to a commit was lost (%s); asking the database", str(cause).strip())
        try:
            writer = self._living_writer()
            found = writer.execute(
                f"SELECT last_group FROM {SCHEMA}.writers WHERE name = %s", (self._writer_name,)
            ).fetchone()
        except (psycopg.Error, StorageError) as error:
            raise CommitUnknown("whether the last changes were committed cannot be found out") from error
        # The lock came with the connection, so the old session has ended: it has committed or never will.
        return found is not None and int(found[0]) == self._groups

    @property
    def where(self) -> str:
        """The database, without the password."""
        return self._database.where

    def _pause(self) -> None:
        if self._closed.wait(RETRY_S):
            self._refuse_when_closed()

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise StorageError("The store is closed.")

    def _drop_readers(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._idle_readers.get_nowait().close()

    def _give_up_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
