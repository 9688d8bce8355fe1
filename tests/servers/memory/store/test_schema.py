"""The schema's versions and the way from one to the next."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from servers.errors import StoreUnusable
from servers.memory.store import rows
from servers.memory.store.schema import APPLICATION_ID, MIGRATIONS, migrate
from servers.memory.store.sqlite import FILE_NAME, SqliteStore
from tests.servers.memory.doubles import make_memory

STEPS = ("CREATE TABLE one (a)", "CREATE TABLE two (a); INSERT INTO two VALUES (7)")


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """An empty database in memory."""
    with closing(apsw.Connection(":memory:")) as opened:
        yield opened


def test_an_empty_file_becomes_the_newest_version(connection: apsw.Connection) -> None:
    """All steps are taken, and the file is marked as ours."""
    assert migrate(connection, "file") == len(MIGRATIONS)
    assert connection.pragma("user_version") == len(MIGRATIONS)
    assert connection.pragma("application_id") == APPLICATION_ID


def test_only_the_missing_steps_are_taken(connection: apsw.Connection) -> None:
    """A file of an older version keeps what is in it and gets what it lacks."""
    migrate(connection, "file", STEPS[:1])
    connection.execute("INSERT INTO one VALUES (1)")
    assert migrate(connection, "file", STEPS) == 2
    assert connection.execute("SELECT one.a, two.a FROM one, two").fetchall() == [(1, 7)]
    assert migrate(connection, "file", STEPS) == 2


def test_a_failed_step_changes_nothing(connection: apsw.Connection) -> None:
    """A step is taken whole or not at all."""
    migrate(connection, "file", STEPS[:1])
    with pytest.raises(apsw.SQLError):
        migrate(connection, "file", (STEPS[0], "CREATE TABLE three (a); INSERT INTO nowhere VALUES (1)"))
    assert connection.pragma("user_version") == 1
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]


def test_a_newer_version_is_refused(connection: apsw.Connection) -> None:
    """A file from the future is left alone."""
    migrate(connection, "file", STEPS)
    with pytest.raises(StoreUnusable, match="newer"):
        migrate(connection, "file", STEPS[:1])


VERSION_1_ROW = (
    "INSERT INTO memories (id, namespace, text, timestamp_ms, significance, surprise, type, tags, metadata, "
    "duplicate_of, expires_at_ms, deleted_at_ms, vector, checksum) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_an_earlier_version_keeps_everything(tmp_path: Path, version: int) -> None:
    """A file as that version wrote it opens with all memories, deletions included, and takes new ones."""
    memories = [make_memory(f"m{place}", type="fact", metadata={"n": place}) for place in range(5)]
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as old:
        old.pragma("journal_mode", "wal")
        migrate(old, "file", MIGRATIONS[:version])
        for place, memory in enumerate(memories):
            *values, vector, checksum = rows.to_row(memory)
            old.execute(VERSION_1_ROW, (*values, 7 if place == 4 else None, vector, checksum))
    with closing(SqliteStore(tmp_path)) as store:
        assert store.info().schema_version == len(MIGRATIONS)
        found = store.find_many([memory.id for memory in memories])
        assert {key: replace(memory, seq=0) for key, memory in found.items()} == {
            memory.id: memory for memory in memories[:4]
        }
        store.apply([lambda t: t.set_deleted("m4", None), lambda t: t.insert(make_memory("new"))])
        assert store.count() == 6
