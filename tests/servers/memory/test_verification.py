"""The check that goes on while a large store is served: its verdict, what damage leads to, and its end."""

import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from servers.errors import StoreUnusable
from servers.memory.settings import MemorySettings
from servers.memory.store import sqlite
from servers.memory.store.base import ModelMark, Transaction
from servers.memory.store.integrity import IntegrityCheck, structure_finding
from servers.memory.store.sqlite import FILE_NAME, SUSPECT_NAME, SqliteStore
from servers.memory.verification import Verification
from tests.servers.memory.desk import make_desk
from tests.servers.memory.doubles import make_memory

DEBUG_DIMENSIONS = 384


@pytest.fixture
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as large."""
    monkeypatch.setattr(sqlite, "LARGE_BYTES", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of a few memories."""
    with closing(SqliteStore(tmp_path)) as store:
        store.bind_model(ModelMark("debug", DEBUG_DIMENSIONS))
        store.apply([partial(insert, f"m{place}") for place in range(50)])
    return tmp_path


def insert(memory_id: str, transaction: Transaction) -> None:
    """Store the memory of that id."""
    memory = make_memory(memory_id, vector=make_memory(memory_id).vector.repeat(DEBUG_DIMENSIONS // 8))
    transaction.insert(memory)


def confuse_two_indexes(folder: Path) -> None:
    """Give each of two indexes the pages of the other: every page is well-formed, and the answers wrong."""
    names = ("memories_by_namespace", "memories_by_time")
    with closing(apsw.Connection(str(folder / FILE_NAME))) as connection:
        found = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (first,), (second,) = (connection.execute(found, (name,)).fetchall()[0] for name in names)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        connection.pragma("writable_schema", True)
        for name, page in zip(names, (second, first), strict=True):
            connection.execute("UPDATE sqlite_schema SET rootpage = ? WHERE name = ?", (page, name))


def test_a_small_store_is_checked_completely_when_opened(folder: Path) -> None:
    """Wrong indexes are found before anything is served."""
    with closing(SqliteStore(folder)) as store:
        assert store.info().checked == "complete"
    confuse_two_indexes(folder)
    with pytest.raises(StoreUnusable, match="memories_by"):
        SqliteStore(folder)


@pytest.mark.usefixtures("_large")
def test_of_a_large_store_the_structure_is_checked_first(folder: Path) -> None:
    """It opens after the quick check and says so, until the complete one has passed."""
    with closing(SqliteStore(folder)) as store:
        assert store.info().checked == "structure"
        store.verify()
        assert store.info().checked == "complete"


@pytest.mark.usefixtures("_large")
def test_a_large_store_with_a_broken_page_is_refused(folder: Path) -> None:
    """The quick check reads every page."""
    with closing(apsw.Connection(str(folder / FILE_NAME))) as connection:
        page_bytes = connection.pragma("page_size")
    file = folder / FILE_NAME
    content = bytearray(file.read_bytes())
    content[3 * page_bytes : 3 * page_bytes + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged"):
        SqliteStore(folder)


@pytest.mark.usefixtures("_large")
def test_damage_found_while_serving_refuses_the_next_start(folder: Path) -> None:
    """The verdict outlives the process: the store is opened again only when a complete check passes."""
    confuse_two_indexes(folder)
    with closing(SqliteStore(folder)) as store, pytest.raises(StoreUnusable, match="memories_by"):
        store.verify()
    with pytest.raises(StoreUnusable, match="memories_by"):
        SqliteStore(folder)
    confuse_two_indexes(folder)
    with closing(SqliteStore(folder)) as store:
        assert store.info().checked == "complete"
        assert not (folder / SUSPECT_NAME).exists()


@pytest.mark.usefixtures("_large")
async def test_a_server_on_a_damaged_store_does_not_go_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its health turns bad, so that it is started again, which is refused with the mend."""
    confuse_two_indexes(folder)
    desk = make_desk(MemorySettings(backend="debug", path=folder))
    await desk.memories.start()
    verification = desk.memories._verification
    assert verification is not None
    verification.wait()
    assert not desk.memories.is_alive()
    await desk.memories.stop()
    assert "memory.db" in caplog.text
    with pytest.raises(StoreUnusable, match="memories_by"):
        SqliteStore(folder)


class EndlessStore(SqliteStore):
    """A store whose check ends only when it is stopped."""

    stopped = threading.Event()

    def verify(self) -> None:
        self.stopped.wait()

    def stop_verifying(self) -> None:
        self.stopped.set()


def test_stopping_does_not_wait_for_the_check(folder: Path) -> None:
    """A check that is far from its end is cut short."""
    with closing(EndlessStore(folder)) as store:
        verification = Verification(store)
        verification.stop()
        assert not verification.found_damage


@pytest.mark.usefixtures("_large")
def test_a_check_that_was_stopped_gives_no_verdict(folder: Path) -> None:
    """Neither sound nor damaged: the next start checks again."""
    with closing(SqliteStore(folder)) as store:
        store.stop_verifying()
        store.verify()
        assert store.info().checked == "structure"


def test_a_running_check_is_interrupted() -> None:
    """SQLite itself is told to stop, in the middle of its statement."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        check = IntegrityCheck()
        connection.set_progress_handler(lambda: check.stop() or False, 1)
        assert check.complete(connection) is None
        connection.set_progress_handler(None)
        assert structure_finding(connection) == "ok"
