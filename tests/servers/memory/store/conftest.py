"""The stores that the conformance tests run against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.memory.store.base import Store
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.store.filling import MODEL, OpenStore


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same store again and again; every opened one is closed at the end."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(SqliteStore(tmp_path / "data", lock_wait_s=0.0))
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
