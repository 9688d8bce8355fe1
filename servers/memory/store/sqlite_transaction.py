"""What one operation does to the tables of the SQLite store, inside the writer's transaction.

It decides the statements of every change; it does not know when the transaction begins or reaches the disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar, cast

import apsw

from servers.errors import RequestError, StorageError
from servers.memory.store import rows
from servers.memory.store.base import EXPIRED, Memory, Selection, Transaction
from servers.memory.store.filter_sql import condition_of_purge, condition_of_selection

T = TypeVar("T")

_SET_PROPERTY: Final = (
    "INSERT INTO properties VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class SqliteTransaction:
    """See `Transaction`; lives as long as the writer's transaction does."""

    def __init__(self, writer: apsw.Connection) -> None:
        self._writer = writer

    def find(self, memory_id: str) -> Memory | None:
        """Return the memory of that id, deleted or not, or None. Raises StorageError if it is damaged."""
        statement = f"SELECT {rows.COLUMNS} FROM memories WHERE id = ?"
        raw = self._writer.execute(statement, (memory_id,)).fetchone()
        if raw is None:
            return None
        row = rows.read(raw)
        if row is None:
            raise StorageError(f"The memory {memory_id!r} is damaged on disk; bring it back from a backup.")
        return rows.from_row(row)

    def insert(self, memory: Memory) -> Memory:
        """Add a memory whose id is not taken; returns it with its `seq`."""
        (added,) = self.insert_many([memory])
        return added

    def insert_many(self, memories: Sequence[Memory]) -> list[Memory]:
        """Add memories whose ids are not taken, one at least; returns them with their `seq`, in order."""
        self._writer.executemany(rows.INSERT, map(rows.to_row, memories))
        # One thread writes and AUTOINCREMENT only counts up, so the seqs of one statement have no gaps.
        first = self._writer.last_insert_rowid() - len(memories) + 1
        return [memory.placed(seq) for seq, memory in enumerate(memories, start=first)]

    def replace(self, memory: Memory) -> None:
        """Write the undeleted memory of that seq anew."""
        self._writer.execute(rows.UPDATE, (*rows.to_row(memory), memory.seq))

    def set_deleted(self, memory_id: str, at_ms: int | None) -> None:
        """Mark the memory as deleted at that time, or as restored with None."""
        statement = "UPDATE memories SET deleted_at_ms = ?, deletion = NULL WHERE id = ?"
        self._writer.execute(statement, (at_ms, memory_id))

    def delete_selected(self, selection: Selection, at_ms: int, deletion: str) -> list[tuple[int, str]]:
        """Mark all that is selected as deleted by `deletion`; returns their seqs and ids, by seq."""
        condition, values = condition_of_selection(selection)
        statement = (
            f"UPDATE memories SET deleted_at_ms = ?, deletion = ? WHERE {condition} "
            "RETURNING seq, CAST(id AS BLOB)"
        )
        found = self._writer.execute(statement, (at_ms, deletion, *values)).fetchall()
        return sorted((int(str(seq)), cast(bytes, raw_id).decode(errors="replace")) for seq, raw_id in found)

    def delete_expired(self, now_ms: int, most: int) -> list[int]:
        """Mark at most `most` memories that have expired by then as deleted; returns their seqs."""
        statement = (
            "UPDATE memories SET deleted_at_ms = expires_at_ms, deletion = ? WHERE seq IN "
            "(SELECT seq FROM memories WHERE expires_at_ms <= ? AND deleted_at_ms IS NULL LIMIT ?) "
            "RETURNING seq"
        )
        found = self._writer.execute(statement, (EXPIRED, now_ms, most)).fetchall()
        return [int(str(seq)) for (seq,) in found]

    def restore_deletion(self, deletion: str) -> list[Memory]:
        """Bring back what `deletion` deleted and nothing restored since; returns the memories, by seq."""
        chosen = f"SELECT {rows.COLUMNS} FROM memories WHERE deletion = ? ORDER BY seq"
        found = [rows.read(raw) for raw in self._writer.execute(chosen, (deletion,))]
        undo = "UPDATE memories SET deleted_at_ms = NULL, deletion = NULL WHERE deletion = ?"
        self._writer.execute(undo, (deletion,))
        return [
            replace(rows.from_row(row), deleted_at_ms=None, deletion=None) for row in found if row is not None
        ]

    def purge(self, ids: Sequence[str] | None, deleted_before_ms: int, most: int) -> int:
        """Remove deleted memories for good; see `Transaction.purge`."""
        condition, values = condition_of_purge(ids, deleted_before_ms)
        statement = (
            f"DELETE FROM memories WHERE seq IN (SELECT seq FROM memories WHERE {condition} LIMIT ?) "
            "RETURNING seq"
        )
        return len(self._writer.execute(statement, [*values, most]).fetchall())

    def set_property(self, name: str, value: str) -> None:
        """Keep a fact about the store under that name."""
        self._writer.execute(_SET_PROPERTY, (name, value))


def apply_all(
    writer: apsw.Connection, operations: Sequence[Callable[[Transaction], T]]
) -> list[T | RequestError]:
    """Run the operations in order; a RequestError undoes the operation that raised it alone."""
    transaction = SqliteTransaction(writer)
    if len(operations) == 1:
        return [_attempt_alone(writer, transaction, operations[0])]
    return [_attempt(writer, transaction, operation) for operation in operations]


def _attempt_alone(
    writer: apsw.Connection, transaction: Transaction, operation: Callable[[Transaction], T]
) -> T | RequestError:
    """The same without a savepoint, two statements the fewer: the transaction is this operation's own."""
    try:
        return operation(transaction)
    except RequestError as error:
        writer.execute("ROLLBACK")
        writer.execute("BEGIN IMMEDIATE")
        return error


def _attempt(
    writer: apsw.Connection, transaction: Transaction, operation: Callable[[Transaction], T]
) -> T | RequestError:
    writer.execute("SAVEPOINT operation")
    try:
        answer: T | RequestError = operation(transaction)
    except RequestError as error:
        writer.execute("ROLLBACK TO operation")
        answer = error
    writer.execute("RELEASE operation")
    return answer
