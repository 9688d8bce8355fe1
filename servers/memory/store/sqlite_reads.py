"""What is read of the store in one SQLite file.

It decides which statements read what; connections are given out by `connections`, and nothing is written.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from servers.memory.store import rows
from servers.memory.store.base import Columns, Memory
from servers.memory.store.connections import Connections
from servers.memory.store.failures import disk_failures
from servers.memory.store.filter_sql import condition_of, condition_of_purge, condition_of_selection
from servers.memory.store.marks import Marks
from servers.memory.store.sql_reads import Dialect, SqlReads

MAX_BOUND: Final = 500
"""Values bound in one statement when rows are looked up by key."""


class SqliteReads(SqlReads):
    """The reading half of `SqliteStore`, in `file`; `_connections` are there once the store is open."""

    dialect: ClassVar[Dialect] = Dialect(
        "memories", rows.COLUMNS, "?", condition_of, condition_of_selection, condition_of_purge
    )
    _connections: Connections

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def scan(self, rows_per_step: int, after_seq: int = 0) -> Iterator[Columns]:
        """Yield every memory that is not deleted, by `seq`, in steps of at most `rows_per_step`."""
        statement = (
            f"SELECT {rows.COLUMNS} FROM memories WHERE seq > ? AND deleted_at_ms IS NULL ORDER BY seq"
        )
        with disk_failures(self._file), self._connections.reading() as reader:
            cursor = reader.execute(statement, (after_seq,))
            while step := list(itertools.islice(cursor, rows_per_step)):
                if intact := self._intact(step):
                    yield rows.to_columns(intact)

    def row_sums(self, first: int, last: int) -> tuple[int, int, int]:
        """Return count, sum of checksums, and sum of checksums times place; see `Marked`."""
        # The largest prime below 2^32 keeps every term, and so the sum of 2^31 of them, in 64 bits.
        statement = (
            "SELECT count(*), ifnull(sum(checksum), 0), "
            "ifnull(sum(checksum * ((seq & 4095) + 1) % 4294967291), 0) "
            "FROM memories WHERE seq BETWEEN ? AND ? AND deleted_at_ms IS NULL"
        )
        ((count, plain, placed),) = self._rows(statement, [first, last])
        return count, plain, placed

    def row_marks(self, first: int, last: int) -> Marks:
        """Return the marks of the undeleted rows whose seqs lie in first…last."""
        statement = (
            "SELECT seq, checksum FROM memories WHERE seq BETWEEN ? AND ? AND deleted_at_ms IS NULL "
            "ORDER BY seq"
        )
        found = np.array(self._rows(statement, [first, last]), dtype=np.int64).reshape(-1, 2)
        return Marks(found[:, 0].copy(), found[:, 1].copy())

    def fetch(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """Return the memories of these seqs, deleted or not."""
        return {memory.seq: memory for memory in self._lookup("seq", seqs)}

    def find_many(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Return the memories of these ids that are not deleted."""
        return {memory.id: memory for memory in self._lookup("id", ids) if memory.deleted_at_ms is None}

    def read_all(self, namespace: str | None, rows_per_step: int) -> Iterator[list[Memory]]:
        """Yield every undeleted, intact memory of a namespace (None: of all), by seq, as of one instant."""
        statement = (
            f"SELECT {rows.COLUMNS} FROM memories WHERE deleted_at_ms IS NULL "
            "AND (?1 IS NULL OR namespace = ?1) ORDER BY seq"
        )
        with disk_failures(self._file), self._connections.reading() as reader:
            cursor = reader.execute(statement, (namespace,))
            while step := list(itertools.islice(cursor, rows_per_step)):
                yield self._memories(step)

    def _lookup(self, column: str, keys: Sequence[Any]) -> Iterator[Memory]:
        for start in range(0, len(keys), MAX_BOUND):
            some = list(keys[start : start + MAX_BOUND])
            marks = ", ".join("?" * len(some))
            statement = f"SELECT {rows.COLUMNS} FROM memories WHERE {column} IN ({marks})"
            yield from self._memories(self._rows(statement, some))

    def _rows(self, statement: str, bound: Sequence[Any]) -> list[tuple[Any, ...]]:
        with disk_failures(self._file), self._connections.reading() as reader:
            return list(reader.execute(statement, bound))

    def _read(self, raw: Any) -> rows.Row | None:
        return rows.read(raw)

    def _place(self) -> str:
        return str(self._file)
