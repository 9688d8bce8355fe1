"""The PostgreSQL store beyond the conformance suite: crashes, failover, refusals."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from servers.errors import InvalidRequest, StorageError, StoreUnusable
from servers.memory.filters import parse_filter
from servers.memory.store.base import CommitUnknown, Memory, PageQuery
from tests.servers.memory.doubles import make_memory
from tests.servers.memory.store.filling import MODEL, put
from tests.servers.memory.store.postgres_server import PostgresServer, make_folder, remove_folder

postgres = pytest.importorskip(
    "servers.memory.store.postgres", reason="psycopg (extra `postgres`) is missing"
)
PostgresStore = postgres.PostgresStore


@pytest.fixture
def pair(postgres_binaries: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary with a synchronous standby: what one has acknowledged the other has too."""
    folder = make_folder()
    os.chmod(folder, 0o755)
    primary = PostgresServer(postgres_binaries, folder / "one")
    standby = PostgresServer(postgres_binaries, folder / "two")
    primary.make()
    primary.start()
    standby.follow(primary)
    standby.start()
    primary.run_sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.run_sql("SELECT pg_reload_conf()")
    yield primary, standby
    standby.stop()
    primary.stop()
    remove_folder(folder)


def test_a_failover_loses_and_doubles_nothing(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """The primary dies, the standby takes over: the same store goes on with all that was acknowledged."""
    primary, standby = pair
    dsn = f"postgresql://lucid@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
    with closing(PostgresStore(dsn)) as store:
        store.bind_model(MODEL)
        put(store, *(make_memory(f"m{place}") for place in range(10)))
        primary.kill()
        with pytest.raises(StorageError, match="nothing was changed"):
            put(store, make_memory("at the moment of death"))
        standby.promote()
        standby.run_sql("ALTER SYSTEM RESET synchronous_standby_names")
        standby.run_sql("SELECT pg_reload_conf()")
        put(store, make_memory("after"))
        ids = [memory_id for step in store.scan(100) for memory_id in step.ids]
    assert ids == [*(f"m{place}" for place in range(10)), "after"]


def test_a_restarted_server_is_found_again(postgres_server: PostgresServer, empty_dsn: str) -> None:
    """A crash of the server costs the group under way at most; reading and writing go on by themselves."""
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        put(store, make_memory("before"))
        assert store.count() == 1
        postgres_server.kill()
        postgres_server.start()
        assert set(store.find_many(["before"])) == {"before"}
        with pytest.raises(StorageError):
            put(store, make_memory("lost"))
        put(store, make_memory("after"))
        assert set(store.find_many(["before", "lost", "after"])) == {"before", "after"}


def test_a_commit_whose_answer_was_lost_is_looked_up(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks right after the commit: the result is given all the same, and stored once."""
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        _break_at_commit(store, monkeypatch, takes_place=True)
        (kept,) = put(store, make_memory("a"))
        assert store.find_many(["a"]) == {"a": kept}


def test_a_commit_that_did_not_take_place_is_refused(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks right before the commit: the client is told, and nothing is stored."""
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        _break_at_commit(store, monkeypatch, takes_place=False)
        with pytest.raises(StorageError):
            put(store, make_memory("a"))
        assert store.find_many(["a"]) == {}
        put(store, make_memory("a"))
        assert store.count() == 1


def test_a_commit_that_nobody_can_tell_of_is_said_to_be_unknown(
    postgres_server: PostgresServer, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes at the commit and stays away: neither success nor failure is claimed."""
    monkeypatch.setattr("servers.memory.store.postgres_connections.RECONNECT_S", 0.3)
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        _break_at_commit(store, monkeypatch, takes_place=True, then=postgres_server.kill)
        with pytest.raises(CommitUnknown):
            put(store, make_memory("a"))
    postgres_server.start()
    with closing(PostgresStore(empty_dsn)) as store:
        assert store.count() == 1


def _break_at_commit(
    store: object,
    monkeypatch: pytest.MonkeyPatch,
    *,
    takes_place: bool,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Let the writer's next COMMIT fail as a broken connection does, after it took place or instead."""
    connections = store._connections  # type: ignore[attr-defined] # the seam is private on purpose
    writer = connections._writer

    class Breaking:
        broken = False

        def execute(self, statement: str, *values: object, **options: object) -> object:
            if statement != "COMMIT":
                return writer.execute(statement, *values, **options)
            if takes_place:
                writer.execute("COMMIT")
            then()
            raise postgres.psycopg.OperationalError("server closed the connection unexpectedly")

        def cursor(self, **options: bool) -> object:
            return writer.cursor(**options)

        def close(self) -> None:
            writer.close()

    monkeypatch.setattr(connections, "_writer", Breaking())


def test_a_second_server_is_refused_with_the_holder(empty_dsn: str) -> None:
    """Two servers never write at once; the text names the one that does, and the lock ends with it."""
    named = pytest.raises(StoreUnusable, match=f"lucid-memory {os.getpid()}@")
    with closing(PostgresStore(empty_dsn)), named:
        PostgresStore(empty_dsn, lock_wait_s=0.1)
    PostgresStore(empty_dsn).close()


@pytest.mark.parametrize(
    "dsn", ["postgresql://lucid@127.0.0.1:1/x", "postgresql://[", "postgresql://u:p@[::1"]
)
def test_an_unreachable_server_is_refused(dsn: str) -> None:
    """The text says what to check, and never shows a password."""
    with pytest.raises(StoreUnusable, match="cannot be reached") as caught:
        PostgresStore(dsn)
    assert "port" in str(caught.value.mend)
    assert "hush" not in str(caught.value)


def test_backups_are_left_to_the_database(empty_dsn: str, tmp_path: Path) -> None:
    """The refusal names what to use instead."""
    with closing(PostgresStore(empty_dsn)) as store, pytest.raises(InvalidRequest, match="pg_dump"):
        store.backup(tmp_path / "x")


def test_a_damaged_row_is_set_aside(postgres_server: PostgresServer, empty_dsn: str) -> None:
    """A row that is not what was written is counted, not served."""
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        kept = put(store, *(make_memory(f"m{place}") for place in range(3)))
        postgres_server.run_sql("UPDATE lucid_memory.memories SET significance = 0.75 WHERE id = 'm1'")
        assert [m.id for m in store.page(PageQuery("default", 9, 0)).memories] == ["m2", "m0"]
        assert store.info().damaged_rows == 1
        (answer,) = store.apply([lambda t: t.find("m1")])
        assert isinstance(answer, StorageError)
        assert isinstance(kept[0], Memory)


def test_odd_keys_of_metadata_can_be_filtered(empty_dsn: str) -> None:
    """Quotes, backslashes, dots in lists, NUL: a filter means the same as in SQLite."""
    with closing(PostgresStore(empty_dsn)) as store:
        store.bind_model(MODEL)
        put(store, make_memory("a", metadata={"b\\c": "x\0y", "$": 1, "l": [{"e": 1}], "é %s": True}))
        for raw, found in (
            ({"b\\c": "x\0y"}, 1),
            ({"$": {"lte": 1}}, 1),
            ({"l.e": 1}, 0),
            ({"l.0": {"ne": 1}}, 1),
            ({"é %s": True}, 1),
        ):
            assert len(store.matching("default", parse_filter(raw))) == found, raw
