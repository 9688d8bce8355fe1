"""What one operation does to the tables of the PostgreSQL store, inside the writer's transaction.

It decides the statements of every change; it does not know when the transaction begins or is committed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from servers.errors import RequestError, StorageError
from servers.memory.store import postgres_rows, rows
from servers.memory.store.base import EXPIRED, Memory, Selection, Transaction
from servers.memory.store.postgres_filter import condition_of_purge, condition_of_selection
from servers.memory.store.postgres_rows import COLUMNS, TABLE
from servers.memory.store.postgres_schema import SCHEMA

T = TypeVar("T")


class PostgresTransaction:
    """See `Transaction`; lives as long as the writer's transaction does."""

    def __init__(self, writer: psycopg.Connection[Any]) -> None:
        self._writer = writer

    def find(self, memory_id: str) -> Memory | None:
        """Return the memory of that id, deleted or not, or None. Raises StorageError if it is damaged."""
        raw = self._run(f"SELECT {COLUMNS} FROM {TABLE} WHERE id = %s", [memory_id])
        if not raw:
            return None
        row = postgres_rows.read(raw[0])
        if row is None:
            raise StorageError(f"The memory {memory_id!r} is damaged; bring it back from a backup.")
        return rows.from_row(row)

    def insert(self, memory: Memory) -> Memory:
        """Add a memory whose id is not taken; returns it with its `seq`."""
        (added,) = self.insert_many([memory])
        return added

    def insert_many(self, memories: Sequence[Memory]) -> list[Memory]:
        """Add memories whose ids are not taken, one at least; returns them with their `seq`, in order."""
        # In one pipeline: the network is crossed once, however many there are.
        with self._writer.cursor(binary=True) as cursor:
            cursor.executemany(postgres_rows.INSERT, map(postgres_rows.to_row, memories), returning=True)
            seqs = [int(seq) for result in cursor.results() for (seq,) in result]
        return [replace(memory, seq=seq) for memory, seq in zip(memories, seqs, strict=True)]

    def replace(self, memory: Memory) -> None:
        """Write the undeleted memory of that seq anew."""
        self._writer.execute(postgres_rows.UPDATE, (*postgres_rows.to_row(memory), memory.seq))

    def set_deleted(self, memory_id: str, at_ms: int | None) -> None:
        """Mark the memory as deleted at that time, or as restored with None."""
        statement = f"UPDATE {TABLE} SET deleted_at_ms = %s, deletion = NULL WHERE id = %s"
        self._writer.execute(statement, (at_ms, memory_id))

    def delete_selected(self, selection: Selection, at_ms: int, deletion: str) -> list[tuple[int, str]]:
        """Mark all that is selected as deleted by `deletion`; returns their seqs and ids, by seq."""
        condition, values = condition_of_selection(selection)
        statement = (
            f"UPDATE {TABLE} SET deleted_at_ms = %s, deletion = %s WHERE {condition} RETURNING seq, id"
        )
        return sorted(self._run(statement, [at_ms, deletion, *values]))

    def delete_expired(self, now_ms: int, most: int) -> list[int]:
        """Mark at most `most` memories that have expired by then as deleted; returns their seqs."""
        statement = (
            f"UPDATE {TABLE} SET deleted_at_ms = expires_at_ms, deletion = %s WHERE seq IN "
            f"(SELECT seq FROM {TABLE} WHERE expires_at_ms <= %s AND deleted_at_ms IS NULL LIMIT %s) "
            "RETURNING seq"
        )
        return [int(seq) for (seq,) in self._run(statement, [EXPIRED, now_ms, most])]

    def restore_deletion(self, deletion: str) -> list[Memory]:
        """Bring back what `deletion` deleted and nothing restored since; returns the memories, by seq."""
        found = self._run(f"SELECT {COLUMNS} FROM {TABLE} WHERE deletion = %s ORDER BY seq", [deletion])
        undo = f"UPDATE {TABLE} SET deleted_at_ms = NULL, deletion = NULL WHERE deletion = %s"
        self._writer.execute(undo, (deletion,))
        intact = [row for row in map(postgres_rows.read, found) if row is not None]
        return [replace(rows.from_row(row), deleted_at_ms=None, deletion=None) for row in intact]

    def purge(self, ids: Sequence[str] | None, deleted_before_ms: int, most: int) -> int:
        """Remove deleted memories for good; see `Transaction.purge`."""
        condition, values = condition_of_purge(ids, deleted_before_ms)
        statement = (
            f"DELETE FROM {TABLE} WHERE seq IN (SELECT seq FROM {TABLE} WHERE {condition} LIMIT %s) "
            "RETURNING seq"
        )
        return len(self._run(statement, [*values, most]))

    def set_property(self, name: str, value: str) -> None:
        """Keep a fact about the store under that name."""
        self._writer.execute(
            f"INSERT INTO {SCHEMA}.properties VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        # Binary, since that is the only exact and quick form of a vector.
        return self._writer.execute(statement, values, binary=True).fetchall()


def attempt(writer: psycopg.Connection[Any], operation: Callable[[Transaction], T]) -> T | RequestError:
    """Run one operation; a RequestError undoes it alone and is returned."""
    writer.execute("SAVEPOINT operation")
    try:
        answer: T | RequestError = operation(PostgresTransaction(writer))
    except RequestError as error:
        writer.execute("ROLLBACK TO operation")
        answer = error
    writer.execute("RELEASE operation")
    return answer
