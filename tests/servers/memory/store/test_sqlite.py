"""The SQLite store: what reaches the disk and when, failing disks, damaged and foreign files."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers.errors import RequestError, StorageError, StorageFull, StoreUnusable
from servers.memory.filters import parse_filter
from servers.memory.store.base import Memory, ModelMark, PageQuery
from servers.memory.store.sqlite import FILE_NAME, SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, Disk, make_memory

MODEL = ModelMark("a-model", DIMENSIONS)


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Iterator[SqliteStore]:
    """An empty store on the disk that counts and fails."""
    with closing(SqliteStore(tmp_path, vfs=disk.name)) as opened:
        opened.bind_model(MODEL)
        yield opened


def put(store: SqliteStore, *memories: Memory) -> list[Memory | RequestError]:
    """Insert the memories in one group."""
    return store.apply([lambda t, memory=memory: t.insert(memory) for memory in memories])


def test_a_group_is_synced_once(store: SqliteStore, disk: Disk) -> None:
    """A hundred memories in one group cost one sync, as one memory does, and never none."""
    put(store, make_memory("first"))
    before = disk.syncs
    put(store, make_memory("alone"))
    assert disk.syncs == before + 1
    put(store, *(make_memory(f"m{i}") for i in range(100)))
    assert disk.syncs == before + 2


@pytest.mark.parametrize(("fault", "expected"), [(apsw.FullError, StorageFull), (apsw.IOError, StorageError)])
def test_a_failing_disk_is_reported_and_survived(
    store: SqliteStore, disk: Disk, fault: type[Exception], expected: type[RequestError]
) -> None:
    """Nothing of the failed group is kept, reading goes on, and writing too once the disk is well."""
    put(store, make_memory("kept"))
    disk.fault = fault("the disk says no")
    with pytest.raises(expected):
        put(store, make_memory("lost"))
    assert set(store.find_many(["kept", "lost"])) == {"kept"}
    with pytest.raises(expected):
        put(store, make_memory("lost"))
    disk.fault = None
    put(store, make_memory("later"))
    assert set(store.find_many(["kept", "lost", "later"])) == {"kept", "later"}


def test_readers_work_beside_each_other(store: SqliteStore) -> None:
    """Many threads may read at once, each through a connection of its own."""
    put(store, *(make_memory(f"m{i}") for i in range(20)))
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(store.find_many([f"m{i}" for i in range(20)]))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 8


def test_files_are_private(tmp_path: Path) -> None:
    """The folder and every file in it can be read by their owner only."""
    folder = tmp_path / "new" / "data"
    with closing(SqliteStore(folder)) as store:
        store.bind_model(MODEL)
        put(store, make_memory("a"))
        assert folder.stat().st_mode & 0o077 == 0
        assert {file.stat().st_mode & 0o077 for file in folder.iterdir()} == {0}


@pytest.mark.parametrize("content", [b"not a database, but long enough to have a header" * 40, b"x", b""])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """The file is left as it is, and the message says how to go on."""
    file = tmp_path / FILE_NAME
    file.write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged") as caught:
        SqliteStore(tmp_path)
    assert "backup" in str(caught.value.mend)
    assert file.read_bytes() == content


def test_a_failed_opening_lets_the_next_one_in(tmp_path: Path) -> None:
    """The lock of the folder is not kept by a store that could not be opened."""
    (tmp_path / FILE_NAME).write_bytes(b"x" * 4096)
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="damaged"):
            SqliteStore(tmp_path, lock_wait_s=0.0)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """Tables that are not ours are never touched."""
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as other:
        other.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreUnusable, match="another program"):
        SqliteStore(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file where the folder should be gives a message with a mend, not a traceback."""
    (tmp_path / "file").write_text("here")
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        SqliteStore(tmp_path / "file" / "data")


def filled(folder: Path) -> list[Memory]:
    """Make a closed store with twenty memories."""
    with closing(SqliteStore(folder)) as store:
        store.bind_model(MODEL)
        kept = put(store, *(make_memory(f"m{i}", text=f"{'long ' * 200}{i}") for i in range(20)))
    return [memory for memory in kept if isinstance(memory, Memory)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Memory]]:
    """The bytes of a store with twenty memories, and what is in it."""
    folder = tmp_path_factory.mktemp("template")
    kept = filled(folder)
    return (folder / FILE_NAME).read_bytes(), {memory.id: memory for memory in kept}


def served(folder: Path) -> dict[str, Memory]:
    """Everything that a store serves, or nothing if it refuses to open or to read."""
    try:
        with closing(SqliteStore(folder)) as store:
            ids = [memory_id for step in store.scan(7) for memory_id in step.ids]
            return store.find_many(ids)
    except (StoreUnusable, StorageError):
        return {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_never_served(
    tmp_path_factory: pytest.TempPathFactory,
    template: tuple[bytes, dict[str, Memory]],
    data: st.DataObject,
) -> None:
    """Whatever byte of the file changes, every memory that is served is the one that was acknowledged."""
    content, kept = template
    place = data.draw(st.integers(0, len(content) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    folder = tmp_path_factory.mktemp("flipped")
    (folder / FILE_NAME).write_bytes(damaged)
    for memory_id, memory in served(folder).items():
        assert memory == kept[memory_id]
        assert memory.vector.tobytes() == kept[memory_id].vector.tobytes()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_truncated_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, template: tuple[bytes, dict[str, Memory]], data: st.DataObject
) -> None:
    """A file that lost its end is refused with the way to restore it."""
    content, _ = template
    folder = tmp_path_factory.mktemp("cut")
    (folder / FILE_NAME).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(StoreUnusable, match="damaged"):
        SqliteStore(folder)


@pytest.mark.parametrize(
    "damage",
    [
        "text = text || '!'",
        "text = CAST(x'ed31' AS TEXT)",
        "metadata = '{'",
        "tags = '['",
        "significance = 7",
        "vector = zeroblob(32)",
        "vector = zeroblob(8)",
    ],
)
def test_a_damaged_row_is_set_aside(tmp_path: Path, damage: str) -> None:
    """The other rows are served and filtered; the damaged one is counted, and named when asked for."""
    filled(tmp_path)
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as raw:
        raw.execute(f"UPDATE memories SET {damage} WHERE id = 'm3'")
    with closing(SqliteStore(tmp_path)) as store:
        ids = [memory_id for step in store.scan(100) for memory_id in step.ids]
        assert len(ids) == 19
        assert "m3" not in ids
        assert store.info().damaged_rows == 1
        assert store.find_many(["m3"]) == {}
        wanted = parse_filter({"k": {"ne": 1}, "l": None})
        assert len(store.page(PageQuery("default", 100, 0, wanted=wanted)).memories) == 19
        assert store.matching("default", parse_filter({"tags": "a"})).tolist() == []
        (answer,) = store.apply([lambda t: t.find("m3")])
        assert isinstance(answer, StorageError)


def test_changed_table_definitions_are_refused(tmp_path: Path) -> None:
    """A file whose schema is not the one that was written is not guessed at."""
    filled(tmp_path)
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as raw:
        raw.execute("ALTER TABLE memories RENAME COLUMN checksum TO checksun")
    with pytest.raises(StoreUnusable, match="damaged"):
        SqliteStore(tmp_path)


def test_a_half_made_file_is_made_again(tmp_path: Path) -> None:
    """A process that died while it made the store leaves nothing that stops the next one."""
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"half")
    with closing(SqliteStore(tmp_path)) as store:
        assert store.count() == 0
    assert not (tmp_path / f"{FILE_NAME}.new").exists()
