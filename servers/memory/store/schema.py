"""The tables of the SQLite store and the steps that bring an older file up to date.

It decides what a version of the schema is; it does not know who opens the file or when. `user_version`
holds the version, `application_id` says that the file is ours.
"""

from contextlib import closing
from typing import Final

import apsw

from servers.errors import StoreUnusable

APPLICATION_ID: Final = 0x4C554344
"""'LUCD': marks the file as a memory store of this program (the SQLite header's application id)."""

# No CHECK constraints: values are checked before they come here, and a damaged row must be set aside by its
# checksum, not condemn the whole file in the integrity check.
_VERSION_1: Final = """
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    text TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    significance REAL NOT NULL,
    surprise REAL NOT NULL,
    type TEXT,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    duplicate_of TEXT,
    expires_at_ms INTEGER,
    deleted_at_ms INTEGER,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX memories_by_namespace ON memories (namespace, seq);
CREATE INDEX memories_by_type ON memories (namespace, type);
CREATE INDEX memories_by_time ON memories (namespace, timestamp_ms);
"""

# The indexes are partial: a memory that is neither deleted nor a repetition and never expires is in none.
_VERSION_2: Final = """
ALTER TABLE memories ADD COLUMN deletion TEXT;
CREATE INDEX memories_deleted ON memories (deleted_at_ms) WHERE deleted_at_ms IS NOT NULL;
CREATE INDEX memories_by_deletion ON memories (deletion) WHERE deletion IS NOT NULL;
CREATE INDEX memories_expiring ON memories (expires_at_ms)
    WHERE expires_at_ms IS NOT NULL AND deleted_at_ms IS NULL;
CREATE INDEX memories_repeating ON memories (namespace, seq) WHERE duplicate_of IS NOT NULL;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_VERSION_1, _VERSION_2)
"""Step n leads from version n to n + 1. Steps are only ever added: files of every version exist somewhere."""


def migrate(connection: apsw.Connection, file: str, steps: tuple[str, ...] = MIGRATIONS) -> int:
    """Bring the open file up to the newest version, each step in its own transaction; returns that version.

    Raises StoreUnusable if the file belongs to another program or was written by a newer version of this one.
    """
    version = int(connection.pragma("user_version"))
    _refuse_foreign(connection, version, file)
    if version > len(steps):
        raise StoreUnusable(
            what=f"a newer version wrote this memory store (schema {version}, known are up to {len(steps)})",
            where=file,
            mend="install the newer lucid-launch again, or choose another folder with the option `path`",
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        with connection:
            for _ in connection.execute(step):
                pass
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number)
    return len(steps)


def definitions(connection: apsw.Connection) -> frozenset[tuple[object, ...]]:
    """Return every table and index of a file as SQLite keeps its definition."""
    statement = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"
    return frozenset(tuple(row) for row in connection.execute(statement))


def newest_definitions() -> frozenset[tuple[object, ...]]:
    """Return what `definitions` gives for a file of the newest version, as long as nothing damaged it."""
    with closing(apsw.Connection(":memory:")) as fresh:
        migrate(fresh, ":memory:")
        return definitions(fresh)


def _refuse_foreign(connection: apsw.Connection, version: int, file: str) -> None:
    owner = int(connection.pragma("application_id"))
    is_empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if owner == APPLICATION_ID or (owner == 0 and version == 0 and is_empty):
        return
    raise StoreUnusable(
        what="this SQLite file is not a memory store: another program wrote it",
        where=file,
        mend="choose another folder with the option `path`",
    )
