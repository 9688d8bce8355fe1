"""The store in a PostgreSQL database with pgvector: for several hosts, failover, and the backups one has.

It decides how memories lie in the tables and when they count as written: when PostgreSQL has confirmed the
commit. It keeps every promise of `Store`, with one server per database; vectors are searched by the index
beside it, as with every store.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg

from servers.errors import InvalidRequest, RequestError, StorageError, StorageFull, StoreUnusable
from servers.memory.filters import Filter
from servers.memory.store import postgres_rows, rows
from servers.memory.store.base import (
    Backup,
    Columns,
    Memory,
    ModelMark,
    Page,
    PageQuery,
    Selected,
    Selection,
    StoreInfo,
    Transaction,
    other_model,
)
from servers.memory.store.lock import LOCK_WAIT_S
from servers.memory.store.postgres_connections import BROKEN, PostgresConnections
from servers.memory.store.postgres_filter import condition_of, condition_of_purge, condition_of_selection
from servers.memory.store.postgres_rows import COLUMNS, TABLE
from servers.memory.store.postgres_schema import SCHEMA, prepare
from servers.memory.store.postgres_transaction import PostgresTransaction, attempt

log = logging.getLogger(__name__)

T = TypeVar("T")

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")

RETRY_S: Final = 1.0
"""When to come back to a database that is away, in seconds."""


class PostgresStore:
    """A `Store` in the database of a DSN such as postgresql://user@one,two/memories; raises StoreUnusable."""

    def __init__(self, dsn: str, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self._damaged: set[int] = set()
        try:
            self._connections = PostgresConnections(dsn, lock_wait_s)
        except (psycopg.Error, ValueError) as error:
            raise StoreUnusable(
                f"the PostgreSQL server cannot be reached ({_without_password(str(error).strip())})",
                where="option `store`",
                mend="check host, port, user and password in the option, and that the server runs",
            ) from error
        try:
            with self._opening(), self._connections.on_writer() as writer:
                self._schema_version = prepare(writer, self._connections.where)
                postgres_rows.register_vectors(writer)
        except BaseException:
            self._connections.close()
            raise

    def bind_model(self, model: ModelMark) -> None:
        """Record the model, or check it against the recorded one; an empty store takes any model."""
        with self._opening():
            self._connections.commit(lambda writer: self._bind(writer, model))

    def apply(self, operations: Sequence[Callable[[Transaction], T]]) -> list[T | RequestError]:
        """Run the operations in one transaction with one commit; see `Store.apply`."""
        with self._failures():
            return self._connections.commit(
                lambda writer: [attempt(writer, operation) for operation in operations]
            )

    def count(self) -> int:
        """Return how many memories are not deleted."""
        info = self.info()
        return info.rows - info.deleted_rows

    def scan(self, rows_per_step: int) -> Iterator[Columns]:
        """Yield every memory that is not deleted, by `seq`, in steps of at most `rows_per_step`."""
        for step in self._steps("deleted_at_ms IS NULL", [], rows_per_step):
            yield rows.to_columns(step)

    def fetch(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """Return the memories of these seqs, deleted or not."""
        found = self._memories("seq = ANY(%s::bigint[])", [list(seqs)])
        return {memory.seq: memory for memory in found}

    def find_many(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Return the memories of these ids that are not deleted."""
        found = self._memories("deleted_at_ms IS NULL AND id = ANY(%s::text[])", [list(ids)])
        return {memory.id: memory for memory in found}

    def page(self, query: PageQuery) -> Page:
        """Return one page, newest stored first, without damaged memories."""
        condition, values = condition_of(query.wanted)
        is_deleted = "IS NOT NULL" if query.deleted else "IS NULL"
        repeats = " AND duplicate_of IS NOT NULL" if query.duplicates else ""
        before = 2**63 - 1 if query.before_seq is None else query.before_seq
        raw = self._select(
            f"namespace = %s AND seq < %s AND deleted_at_ms {is_deleted}{repeats} "
            f"AND (expires_at_ms IS NULL OR expires_at_ms > %s) AND {condition} ORDER BY seq DESC LIMIT %s",
            [query.namespace, before, query.now_ms, *values, query.limit + 1],
        )
        shown = raw[: query.limit]
        next_before = int(shown[-1][rows.SEQ]) if len(raw) > query.limit else None
        return Page([rows.from_row(row) for row in self._intact(shown)], next_before)

    def matching(self, namespace: str, wanted: Filter) -> npt.NDArray[np.int64]:
        """Return the seqs, ascending, of the undeleted memories of a namespace that pass the filter."""
        condition, values = condition_of(wanted)
        statement = (
            f"SELECT seq FROM {TABLE} WHERE namespace = %s AND deleted_at_ms IS NULL "
            f"AND {condition} ORDER BY seq"
        )
        return np.array([row[0] for row in self._rows(statement, [namespace, *values])], dtype=np.int64)

    def select(self, selection: Selection, limit: int) -> Selected:
        """Return how many memories the selection holds, and the first `limit` of them by seq."""
        condition, values = condition_of_selection(selection)
        ((total,),) = self._rows(f"SELECT count(*) FROM {TABLE} WHERE {condition}", values)
        return Selected(int(total), self._memories(f"{condition} ORDER BY seq LIMIT %s", [*values, limit]))

    def count_purgeable(self, ids: Sequence[str] | None, deleted_before_ms: int) -> int:
        """Return how many memories `Transaction.purge` would remove, however many that is."""
        condition, values = condition_of_purge(ids, deleted_before_ms)
        ((total,),) = self._rows(f"SELECT count(*) FROM {TABLE} WHERE {condition}", values)
        return int(total)

    def read_all(self, namespace: str | None, rows_per_step: int) -> Iterator[list[Memory]]:
        """Yield every undeleted, intact memory of a namespace (None: of all), by seq, as of one instant."""
        condition = "deleted_at_ms IS NULL" + ("" if namespace is None else " AND namespace = %s")
        for step in self._steps(condition, [] if namespace is None else [namespace], rows_per_step):
            yield [rows.from_row(row) for row in step]

    def backup(self, file: Path) -> Backup:
        """Refuse: the database has backups of its own."""
        raise InvalidRequest(
            "backup: the store is in PostgreSQL; back the database up with pg_dump, pg_basebackup or its "
            "archive, or use `export`.",
            details={"field": "type", "got": "backup"},
        )

    def info(self) -> StoreInfo:
        """Return facts about the store."""
        ((total, deleted, size, version, vector, backup),) = self._rows(
            f"SELECT count(*), count(deleted_at_ms), pg_total_relation_size('{TABLE}'), "
            "current_setting('server_version'), "
            "(SELECT extversion FROM pg_extension WHERE extname = 'vector'), "
            f"(SELECT value FROM {SCHEMA}.properties WHERE name = 'last_backup') FROM {TABLE}",
            [],
        )
        return StoreInfo(
            engine="postgresql",
            engine_version=f"{version}, pgvector {vector}",
            schema_version=self._schema_version,
            size_bytes=int(size),
            rows=int(total),
            deleted_rows=int(deleted),
            damaged_rows=len(self._damaged),
            last_backup_ms=None if backup is None else int(backup),
        )

    def close(self) -> None:
        """Close every connection and let the next server in."""
        self._connections.close()

    def _bind(self, writer: psycopg.Connection[Any], model: ModelMark) -> None:
        known = dict(writer.execute(f"SELECT name, value FROM {SCHEMA}.properties").fetchall())
        recorded = (known.get("model"), known.get("dimensions"))
        if recorded == (model.name, str(model.dimensions)):
            return
        if writer.execute(f"SELECT 1 FROM {TABLE} LIMIT 1").fetchall():
            raise other_model(self._connections.where, recorded, model)
        transaction = PostgresTransaction(writer)
        transaction.set_property("model", model.name)
        transaction.set_property("dimensions", str(model.dimensions))

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

    def _memories(self, condition: str, values: list[Any]) -> list[Memory]:
        return [rows.from_row(row) for row in self._intact(self._select(condition, values))]

    def _select(self, condition: str, values: list[Any]) -> list[Any]:
        return self._rows(f"SELECT {COLUMNS} FROM {TABLE} WHERE {condition}", values)

    def _rows(self, statement: Any, values: list[Any]) -> list[Any]:
        with self._failures():
            return self._connections.read(
                lambda reader: reader.execute(statement, values, binary=True).fetchall()
            )

    def _intact(self, found: Sequence[Any]) -> list[rows.Row]:
        intact: list[rows.Row] = []
        for raw in found:
            row, seq = postgres_rows.read(raw), int(raw[rows.SEQ])
            if row is not None:
                intact.append(row)
            elif seq not in self._damaged:
                self._damaged.add(seq)
                log.error("memory number %d of %s is damaged and set aside", seq, self._connections.where)
        return intact

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

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StoreUnusable(
                f"the memory store in PostgreSQL cannot be opened ({str(error).strip()})",
                where=self._connections.where,
                mend="let this user create tables in the database, or name another one with `store`",
            ) from error


def _without_password(text: str) -> str:
    """libpq repeats an address that it cannot read, password and all."""
    return _URL_PASSWORD.sub(r"\1:***@", text)
