"""Which PostgreSQL servers are refused before anything is made on them."""

from typing import Any

import pytest

from servers.errors import StoreUnusable

psycopg = pytest.importorskip("psycopg", reason="psycopg (extra `postgres`) is missing")


class _Answers:
    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self._row = row

    def fetchone(self) -> tuple[Any, ...] | None:
        """The one row there is."""
        return self._row


class FakeServer:
    """A connection to a server with that version of pgvector, or one that refuses to have it."""

    def __init__(self, version: str | None, refusal: Exception | None = None) -> None:
        """`version` None: the extension is not there."""
        self.version, self.refusal = version, refusal
        self.statements: list[str] = []

    def transaction(self) -> "FakeServer":
        """A transaction is the connection itself."""
        return self

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *_: object) -> None:
        """An error goes on to whoever began the transaction."""

    def execute(self, statement: str, values: object = None) -> _Answers:
        """Note the statement; answer what a server would."""
        self.statements.append(statement)
        if statement.startswith("CREATE EXTENSION") and self.refusal is not None:
            raise self.refusal
        if "pg_extension" in statement:
            return _Answers(None if self.version is None else (self.version,))
        return _Answers((None,))

    @property
    def made_tables(self) -> bool:
        """Whether anything was made beyond the empty schema."""
        return any("CREATE TABLE" in statement for statement in self.statements)


def prepare(server: FakeServer) -> int:
    """Prepare the server for the store."""
    from servers.memory.store.postgres_schema import prepare as make_ready

    return make_ready(server, "db.example/memories")  # type: ignore[arg-type]  # a fake of what is used


@pytest.mark.parametrize("version", ["0.8.3", "0.8.0", "0.7.4", "0.8", "0"])
def test_an_older_pgvector_is_refused_and_the_mend_named(version: str) -> None:
    """Before 0.8.4 its indexes could be corrupted; nothing is made on such a server."""
    server = FakeServer(version)
    with pytest.raises(StoreUnusable, match=f"pgvector is {version}") as caught:
        prepare(server)
    assert "db.example/memories" in str(caught.value)
    assert "ALTER EXTENSION vector UPDATE" in str(caught.value)
    assert caught.value.exit_code == 78
    assert not server.made_tables


@pytest.mark.parametrize("version", ["0.8.4", "0.8.10", "0.9.0", "1.0.0"])
def test_a_sound_pgvector_is_taken(version: str) -> None:
    """Numbers are compared as numbers: 0.8.10 is newer than 0.8.4."""
    server = FakeServer(version)
    assert prepare(server) >= 1
    assert server.made_tables


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (psycopg.errors.FeatureNotSupported("no such extension"), "has no pgvector"),
        (psycopg.errors.UndefinedFile("could not open the control file"), "has no pgvector"),
        (psycopg.errors.InsufficientPrivilege("permission denied"), "may not create the extension"),
    ],
)
def test_a_server_that_cannot_have_pgvector_is_refused(refusal: Exception, words: str) -> None:
    """Each refusal says whose move it is."""
    server = FakeServer(None, refusal)
    with pytest.raises(StoreUnusable, match=words):
        prepare(server)
    assert not server.made_tables
