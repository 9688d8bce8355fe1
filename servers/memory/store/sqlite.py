"""The store in one SQLite file: WAL, synchronous=FULL, one writer (design.md section 2).

It decides how memories lie on the disk and when they count as written. It does not know threads beyond "one
at a time writes", nor what vectors mean. Every commit ends with a sync of the write-ahead log, so what
`apply` returned is on the disk (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

import apsw

from servers.errors import RequestError
from servers.memory.store import schema
from servers.memory.store.base import (
    Backup,
    ModelMark,
    StoreInfo,
    Transaction,
    other_model,
)
from servers.memory.store.connections import Connections
from servers.memory.store.creation import create_file, create_folder
from servers.memory.store.failures import damaged, disk_failures, opening_failures
from servers.memory.store.integrity import IntegrityCheck, structure_finding
from servers.memory.store.lock import LOCK_WAIT_S, FolderLock
from servers.memory.store.sqlite_backup import copy_store
from servers.memory.store.sqlite_reads import SqliteReads
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


class SqliteStore(SqliteReads):
    """A `Store` in `folder`/memory.db, held by this process alone until `close`.

    Opening creates what is missing, waits at most `lock_wait_s` seconds for a dying predecessor, checks the
    file's structure and brings an older schema up to date. Raises StoreUnusable. `vfs` names a registered
    SQLite VFS.
    """

    def __init__(self, folder: Path, *, vfs: str | None = None, lock_wait_s: float = LOCK_WAIT_S) -> None:
        super().__init__(folder / FILE_NAME)
        self._suspect = folder / SUSPECT_NAME
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

    @property
    def derived_folder(self) -> Path:
        """Where files may lie that can be made again from the store."""
        return self._file.with_name(DERIVED_NAME)

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
