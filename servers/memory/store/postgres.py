"""The store in a PostgreSQL database with pgvector: for several hosts, failover, and the backups one has.

It decides how memories lie in the tables and when they count as written: when PostgreSQL has confirmed the
commit. It keeps every promise of `Store`, with one server per database; vectors are searched by the index
beside it, as with every store.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg

from servers.errors import InvalidRequest, RequestError, StoreUnusable
from servers.memory.store import postgres_rows
from servers.memory.store.base import (
    Backup,
    ModelMark,
    StoreInfo,
    Transaction,
    other_model,
)
from servers.memory.store.lock import LOCK_WAIT_S
from servers.memory.store.postgres_connections import PostgresConnections
from servers.memory.store.postgres_reads import PostgresReads
from servers.memory.store.postgres_rows import TABLE
from servers.memory.store.postgres_schema import SCHEMA, prepare
from servers.memory.store.postgres_transaction import PostgresTransaction, attempt

T = TypeVar("T")

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")


class PostgresStore(PostgresReads):
    """A `Store` in the database of a DSN such as postgresql://user@one,two/memories; raises StoreUnusable."""

    def __init__(self, dsn: str, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        super().__init__()
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
