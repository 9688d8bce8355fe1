"""The store in one SQLite file: WAL, synchronous=FULL, one writer (design.md section 2).

It decides how memories lie on the disk and when they count as written. It does not know threads beyond "one
at a time writes", nor what vectors mean. Every commit ends with a sync of the write-ahead log, so what
`apply` returned is on the disk (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import numpy as np
import numpy.typing as npt

from servers.errors import RequestError
from servers.memory.filters import Filter
from servers.memory.store import rows, schema
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
from servers.memory.store.connections import Connections
from servers.memory.store.creation import create_file, create_folder
from servers.memory.store.failures import damaged, disk_failures, opening_failures
from servers.memory.store.filter_sql import condition_of, condition_of_purge, condition_of_selection
from servers.memory.store.integrity import IntegrityCheck, structure_finding
from servers.memory.store.lock import LOCK_WAIT_S, FolderLock
from servers.memory.store.marks import Marks
from servers.memory.store.sqlite_backup import copy_store
from servers.memory.store.sqlite_transaction import SqliteTransaction, apply_all

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_NAME: Final = "memory.db"
LOCK_NAME: Final = "memory.lock"
DERIVED_NAME: Final = "index"
SUSPECT_NAME: Final = "memory.suspect"
"""Lies there from a check that found damage while the store was open until one that finds none."""
LARGE_BYTES: Final = 256 << 20
"""Of a larger file only the structure is checked before it is used; the indexes follow, see `verify`."""
MAX_BOUND: Final = 500
"""Values bound in one statement when rows are looked up by key."""


class SqliteStore:
    """A `Store` in `folder`/memory.db, held by this process alone until `close`.

    Opening creates what is missing, waits at most `lock_wait_s` seconds for a dying predecessor, checks the
    file's structure and brings an older schema up to date. Raises StoreUnusable. `vfs` names a registered
    SQLite VFS.
    """

    def __init__(self, folder: Path, *, vfs: str | None = None, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self._file = folder / FILE_NAME
        self._suspect = folder / SUSPECT_NAME
        self._damaged: set[int] = set()
        self._check = IntegrityCheck()
        self._is_verified = False
        with opening_failures(self._file), ExitStack() as undo:
            create_folder(folder)
            self._lock = FolderLock(folder / LOCK_NAME, lock_wait_s)
            undo.callback(self._lock.release)
            create_file(self._file, vfs)
            self._connections = Connections(self._file, vfs)
            undo.callback(self._connections.close)
            self._schema_version = self._prepare()
            undo.pop_all()

    def bind_model(self, model: ModelMark) -> None:
        """Record the model, or check it against the recorded one; an empty store takes any model."""
        with opening_failures(self._file), self._connections.writing() as writer:
            known = {str(row[0]): str(row[1]) for row in writer.execute("SELECT name, value FROM properties")}
            recorded = (known.get("model"), known.get("dimensions"))
            if recorded == (model.name, str(model.dimensions)):
                return
            if writer.execute("SELECT 1 FROM memories LIMIT 1").fetchall():
                raise other_model(str(self._file), recorded, model)
            transaction = SqliteTransaction(writer)
            transaction.set_property("model", model.name)
            transaction.set_property("dimensions", str(model.dimensions))

    def apply(self, operations: Sequence[Callable[[Transaction], T]]) -> list[T | RequestError]:
        """Run the operations in one transaction with one sync; see `Store.apply`."""
        with disk_failures(self._file), self._connections.writing() as writer:
            return apply_all(writer, operations)

    def count(self) -> int:
        """Return how many memories are not deleted."""
        info = self.info()
        return info.rows - info.deleted_rows

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

    @property
    def derived_folder(self) -> Path:
        """Where files may lie that can be made again from the store."""
        return self._file.with_name(DERIVED_NAME)

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

    def page(self, query: PageQuery) -> Page:
        """Return one page, newest stored first, without damaged memories."""
        condition, values = condition_of(query.wanted)
        is_deleted = "IS NOT NULL" if query.deleted else "IS NULL"
        repeats = " AND duplicate_of IS NOT NULL" if query.duplicates else ""
        before = 2**63 - 1 if query.before_seq is None else query.before_seq
        statement = (
            f"SELECT {rows.COLUMNS} FROM memories "
            f"WHERE namespace = ? AND seq < ? AND deleted_at_ms {is_deleted}{repeats} "
            f"AND (expires_at_ms IS NULL OR expires_at_ms > ?) AND {condition} ORDER BY seq DESC LIMIT ?"
        )
        bound = [query.namespace, before, query.now_ms, *values, query.limit + 1]
        found = self._rows(statement, bound)
        shown = found[: query.limit]
        next_before = int(shown[-1][rows.SEQ]) if len(found) > query.limit else None
        return Page([rows.from_row(row) for row in self._intact(shown)], next_before)

    def matching(self, namespace: str, wanted: Filter) -> npt.NDArray[np.int64]:
        """Return the seqs, ascending, of the undeleted memories of a namespace that pass the filter."""
        condition, values = condition_of(wanted)
        statement = (
            "SELECT seq FROM memories WHERE namespace = ? AND deleted_at_ms IS NULL "
            f"AND {condition} ORDER BY seq"
        )
        return np.array([row[0] for row in self._rows(statement, [namespace, *values])], dtype=np.int64)

    def select(self, selection: Selection, limit: int) -> Selected:
        """Return how many memories the selection holds, and the first `limit` of them by seq."""
        condition, values = condition_of_selection(selection)
        ((total,),) = self._rows(f"SELECT count(*) FROM memories WHERE {condition}", values)
        statement = f"SELECT {rows.COLUMNS} FROM memories WHERE {condition} ORDER BY seq LIMIT ?"
        found = self._intact(self._rows(statement, [*values, limit]))
        return Selected(total, [rows.from_row(row) for row in found])

    def count_purgeable(self, ids: Sequence[str] | None, deleted_before_ms: int) -> int:
        """Return how many memories `Transaction.purge` would remove, however many that is."""
        condition, values = condition_of_purge(ids, deleted_before_ms)
        ((total,),) = self._rows(f"SELECT count(*) FROM memories WHERE {condition}", values)
        return int(total)

    def read_all(self, namespace: str | None, rows_per_step: int) -> Iterator[list[Memory]]:
        """Yield every undeleted, intact memory of a namespace (None: of all), by seq, as of one instant."""
        statement = (
            f"SELECT {rows.COLUMNS} FROM memories WHERE deleted_at_ms IS NULL "
            "AND (?1 IS NULL OR namespace = ?1) ORDER BY seq"
        )
        with disk_failures(self._file), self._connections.reading() as reader:
            cursor = reader.execute(statement, (namespace,))
            while step := list(itertools.islice(cursor, rows_per_step)):
                yield [rows.from_row(row) for row in self._intact(step)]

    def backup(self, file: Path) -> Backup:
        """Write a complete, verified copy to a new file; see `Store.backup`."""
        with disk_failures(self._file), self._connections.apart() as source:
            return copy_store(source, file)

    def info(self) -> StoreInfo:
        """Return facts about the store."""
        ((total,),) = self._rows("SELECT count(*) FROM memories", [])
        ((deleted,),) = self._rows("SELECT count(*) FROM memories WHERE deleted_at_ms IS NOT NULL", [])
        backups = self._rows("SELECT value FROM properties WHERE name = 'last_backup'", [])
        parts = [self._file, self._file.with_name(f"{FILE_NAME}-wal")]
        return StoreInfo(
            engine="sqlite",
            engine_version=apsw.sqlite_lib_version(),
            schema_version=self._schema_version,
            size_bytes=sum(part.stat().st_size for part in parts if part.exists()),
            rows=total,
            deleted_rows=deleted,
            damaged_rows=len(self._damaged),
            checked="complete" if self._is_verified else "structure",
            last_backup_ms=int(backups[0][0]) if backups else None,
        )

    def close(self) -> None:
        """Close the file and let the next process into the folder."""
        self._connections.close()
        self._lock.release()

    def verify(self) -> None:
        """Compare every index with its table, if that was left for later. Raises StoreUnusable."""
        if self._is_verified:
            return
        with disk_failures(self._file), self._connections.apart() as connection:
            finding = self._check.complete(connection)
        if finding is None:
            return
        if finding != "ok":
            self._suspect.write_text(finding)
            raise damaged(self._file, finding)
        self._is_verified = True

    def stop_verifying(self) -> None:
        """Have a `verify` that is going on in another thread return at once, without a verdict."""
        self._check.stop()

    def _prepare(self) -> int:
        is_large = self._file.stat().st_size > LARGE_BYTES
        with self._connections.reading() as reader:
            if is_large and not self._suspect.exists():
                finding = structure_finding(reader)
            else:
                finding = self._check.complete(reader) or "not checked"
                self._is_verified = finding == "ok"
        if finding != "ok":
            raise damaged(self._file, finding)
        if self._is_verified:
            self._suspect.unlink(missing_ok=True)
        version = self._connections.on_writer(lambda writer: schema.migrate(writer, str(self._file)))
        with self._connections.reading() as reader:
            if schema.definitions(reader) != schema.newest_definitions():
                raise damaged(self._file, "its table definitions are not what this version wrote")
        return version

    def _lookup(self, column: str, keys: Sequence[Any]) -> Iterator[Memory]:
        for start in range(0, len(keys), MAX_BOUND):
            some = list(keys[start : start + MAX_BOUND])
            marks = ", ".join("?" * len(some))
            statement = f"SELECT {rows.COLUMNS} FROM memories WHERE {column} IN ({marks})"
            yield from (rows.from_row(row) for row in self._intact(self._rows(statement, some)))

    def _rows(self, statement: str, bound: Sequence[Any]) -> list[tuple[Any, ...]]:
        with disk_failures(self._file), self._connections.reading() as reader:
            return list(reader.execute(statement, bound))

    def _intact(self, raws: Iterable[rows.Row]) -> list[rows.Row]:
        """The rows that are what was written; the others are counted and logged once each."""
        intact = []
        for raw in raws:
            row = rows.read(raw)
            if row is not None:
                intact.append(row)
            elif raw[rows.SEQ] not in self._damaged:
                self._damaged.add(raw[rows.SEQ])
                log.error("row %s of %s is damaged (checksum) and not served", raw[rows.SEQ], self._file)
        return intact
