"""What is read of the store in PostgreSQL.

It decides which statements read what, and what a client is told when the database is away.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import psycopg

from servers.errors import StorageError, StorageFull
from servers.memory.store import postgres_rows, rows
from servers.memory.store.base import Columns, Memory
from servers.memory.store.postgres_connections import BROKEN, PostgresConnections
from servers.memory.store.postgres_filter import condition_of, condition_of_purge, condition_of_selection
from servers.memory.store.postgres_rows import COLUMNS, TABLE
from servers.memory.store.sql_reads import Dialect, SqlReads

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""When to come back to a database that is away, in seconds."""


class PostgresReads(SqlReads):
    """The reading half of `PostgresStore`; `_connections` are there once the store is open."""

    dialect: ClassVar[Dialect] = Dialect(
        TABLE, COLUMNS, "%s", condition_of, condition_of_selection, condition_of_purge
    )
    _connections: PostgresConnections

    def scan(self, rows_per_step: int) -> Iterator[Columns]:
        """Yield every memory that is not deleted, by `seq`, in steps of at most `rows_per_step`."""
        for step in self._steps("deleted_at_ms IS NULL", [], rows_per_step):
            yield rows.to_columns(step)

    def fetch(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """Return the memories of these seqs, deleted or not."""
        found = self._found("seq = ANY(%s::bigint[])", [list(seqs)])
        return {memory.seq: memory for memory in found}

    def find_many(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Return the memories of these ids that are not deleted."""
        found = self._found("deleted_at_ms IS NULL AND id = ANY(%s::text[])", [list(ids)])
        return {memory.id: memory for memory in found}

    def read_all(self, namespace: str | None, rows_per_step: int) -> Iterator[list[Memory]]:
        """Yield every undeleted, intact memory of a namespace (None: of all), by seq, as of one instant."""
        condition = "deleted_at_ms IS NULL" + ("" if namespace is None else " AND namespace = %s")
        for step in self._steps(condition, [] if namespace is None else [namespace], rows_per_step):
            yield [rows.from_row(row) for row in step]

    def _steps(self, condition: str, values: list[Any], rows_per_step: int) -> Iterator[list[rows.Row]]:
        statement: Any = f"SELECT {COLUMNS} FROM {TABLE} WHERE {condition} ORDER BY seq"
        with (
            self._failures(),
            self._connections.reading() as reader,
            reader.transaction(),
            reader.cursor(name="steps", binary=True) as cursor,
        ):
            cursor.execute(statement, values)
            while step := cursor.fetchmany(rows_per_step):
                if intact := self._intact(step):
                    yield intact

    def _found(self, condition: str, values: list[Any]) -> list[Memory]:
        return self._memories(self._rows(f"SELECT {COLUMNS} FROM {TABLE} WHERE {condition}", values))

    def _rows(self, statement: Any, bound: Sequence[Any]) -> list[Any]:
        with self._failures():
            return self._connections.read(
                lambda reader: reader.execute(statement, bound, binary=True).fetchall()
            )

    def _read(self, raw: Any) -> rows.Row | None:
        return postgres_rows.read(raw)

    def _place(self) -> str:
        return self._connections.where

    @contextmanager
    def _failures(self) -> Iterator[None]:
        where = self._connections.where
        try:
            yield
        except psycopg.errors.DiskFull as error:
            log.error("the disk of %s is full (%s)", where, error)
            text = f"The disk of {where} is full: nothing was stored. Reading goes on; free some space."
            raise StorageFull(text, retry_after=5.0) from error
        except (*BROKEN, psycopg.errors.InsufficientPrivilege) as error:
            log.error("the store %s failed: %s", where, error)
            text = f"The store {where} cannot be used ({str(error).strip()}): nothing was changed."
            raise StorageError(text, retry_after=RETRY_S) from error
