"""The schema's versions and the way from one to the next."""

from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from servers.errors import StoreUnusable
from servers.memory.store.schema import APPLICATION_ID, MIGRATIONS, migrate

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
