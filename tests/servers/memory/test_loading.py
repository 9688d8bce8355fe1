"""Starts over segments: whatever happened to store and files in between, the index equals the store."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import numpy as np
import pytest

from servers.memory import mapped_arrays
from servers.memory.codes import Coding
from servers.memory.columns import TensorColumns, unit
from servers.memory.float_codes import Float16Coding, Float32Coding
from servers.memory.index_budget import IndexBudget
from servers.memory.int8_codes import Int8Coding
from servers.memory.loading import fill
from servers.memory.residency import Budgeted, Residency, Unlimited
from servers.memory.store.base import Memory, ModelMark, Selection, Transaction
from servers.memory.store.sqlite import DERIVED_NAME, FILE_NAME, SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, make_memory, make_vector

BLOCK_ROWS = 64
ROWS = 3 * BLOCK_ROWS + 10

Change = Callable[[Transaction], object]


BUDGET = IndexBudget(1 << 24, DIMENSIONS, DIMENSIONS, BLOCK_ROWS)
_residencies: list[Callable[[Path], Residency]] = []


@pytest.fixture(params=["memory", "files"], autouse=True)
def _residency(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways: with everything in memory, and with a budget, by which also what is newer goes to files."""
    kinds: dict[str, Callable[[Path], Residency]] = {
        "memory": lambda folder: Unlimited(),
        "files": lambda folder: Budgeted(BUDGET, folder),
    }
    _residencies.append(kinds[request.param])
    yield
    _residencies.pop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three blocks and a rest."""
    with opened(tmp_path) as store:
        store.bind_model(ModelMark("a-model", DIMENSIONS))
        change(store, *(partial(insert, make_memory(f"m{place}")) for place in range(ROWS)))
    return tmp_path


def opened(folder: Path) -> closing[SqliteStore]:
    """The store in that folder."""
    return closing(SqliteStore(folder))


def insert(memory: Memory, transaction: Transaction) -> Memory:
    """Store a memory."""
    return transaction.insert(memory)


def change(store: SqliteStore, *changes: Change) -> None:
    """Make the changes in one group."""
    store.apply(list(changes))


def filled(store: SqliteStore, coding: Coding | None = None) -> tuple[TensorColumns, list[int]]:
    """Columns filled from the store as at a start, and the counts that were reported."""
    residency = _residencies[-1](store.derived_folder)
    columns = TensorColumns(
        DIMENSIONS, coding=coding or Float32Coding(), block_rows=BLOCK_ROWS, residency=residency
    )
    counts: list[int] = []
    fill(columns, store, counts.append)
    residency.close()
    return columns, counts


def shown(columns: TensorColumns) -> dict[str, tuple[object, ...]]:
    """What a search can see, by id."""
    view = columns.view
    rows = np.flatnonzero(view.alive)
    times = zip(view.timestamps_ms[rows].tolist(), view.expires_at_ms[rows].tolist(), strict=True)
    vectors = view.vectors_of(rows)
    return {
        view.ids[row]: (int(view.seqs[row]), float(view.significances[row]), *time, vector.tobytes())
        for row, time, vector in zip(rows.tolist(), times, vectors, strict=True)
    }


def truth(store: SqliteStore) -> dict[str, tuple[object, ...]]:
    """The same, read from the store without any segment."""
    columns = TensorColumns(DIMENSIONS, block_rows=BLOCK_ROWS)
    for step in store.scan(1000):
        columns.append(step)
    return shown(columns)


@pytest.mark.parametrize("coding", [Float32Coding(), Float16Coding(), Int8Coding()], ids=lambda one: one.mode)
def test_a_later_start_reads_only_what_no_segment_holds(folder: Path, coding: Coding) -> None:
    """The second start shows and scores what the first did, and reads the rest of the rows alone."""
    with opened(folder) as store:
        first, counts = filled(store, coding)
        assert sum(counts) == ROWS
    with opened(folder) as store:
        asked: list[int] = []
        scan = store.scan
        store.scan = lambda step, after=0: (asked.append(after), scan(step, after))[1]  # type: ignore[method-assign, assignment, return-value] # notes what is asked for
        second, counts = filled(store, coding)
        assert (asked, sum(counts)) == ([3 * BLOCK_ROWS], ROWS)
        assert shown(second) == shown(first) == truth(store)
    queries = coding.encode(first.view.blocks[0].vectors[:4])
    for one, other in zip(first.view.blocks, second.view.blocks, strict=True):
        rows = min(BLOCK_ROWS, ROWS - one.start)
        bias = one.vectors.new_zeros(rows)
        assert one.codes.scores(queries, 1.0, bias).equal(other.codes.scores(queries, 1.0, bias))
        assert one.codes.remainders.equal(other.codes.remainders)


def restore_one(transaction: Transaction) -> None:
    """Bring back the memory that `made_with_a_deleted_row` left out."""
    transaction.set_deleted("m5", None)


def update_two(transaction: Transaction) -> None:
    """Change a text's vector and another memory's significance."""
    for name, changes in (("m1", {"vector": make_vector("new")}), ("m70", {"significance": 0.875})):
        known = transaction.find(name)
        assert known is not None
        transaction.replace(replace(known, **changes))  # type: ignore[arg-type] # the two differ in type


CHANGES: dict[str, list[Change]] = {
    "nothing": [],
    "more": [partial(insert, make_memory(f"new{place}")) for place in range(2 * BLOCK_ROWS)],
    "deleted": [lambda t: t.set_deleted("m3", 1), lambda t: t.set_deleted("m100", 1)],
    "restored": [restore_one],
    "updated": [update_two],
    "purged": [lambda t: t.set_deleted("m9", 1), lambda t: t.purge(["m9"], 2, 10)],
    "most deleted": [lambda t: t.delete_selected(Selection(ids=tuple(f"m{i}" for i in range(80))), 1, "d")],
    "all deleted": [lambda t: t.delete_selected(Selection(), 1, "d")],
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_is_shown_as_it_is_now(folder: Path, name: str) -> None:
    """After any change, the next start and the one after it show what the store holds."""
    with opened(folder) as store:
        change(store, lambda t: t.set_deleted("m5", 1))
        filled(store)
        change(store, *CHANGES[name])
    for _ in range(2):
        with opened(folder) as store:
            columns, counts = filled(store)
            assert shown(columns) == truth(store)
            assert sum(counts) == len(shown(columns))


def segment_files(folder: Path) -> list[Path]:
    """Every file of every segment."""
    return sorted(file for file in (folder / DERIVED_NAME).glob("*/*") if file.is_file())


def test_every_flipped_byte_in_a_segment_is_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever file of a segment is damaged, it is not used, said so, and made again."""
    with opened(folder) as store:
        filled(store)
        expected = truth(store)
    for file in segment_files(folder):
        content = bytearray(file.read_bytes())
        content[len(content) * 2 // 3] ^= 0x10
        file.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING), opened(folder) as store:
            assert shown(filled(store)[0]) == expected, file
        assert "made again" in caplog.text, file


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_missing_and_empty_files_are_made_again(folder: Path, harm: Callable[[Path], object]) -> None:
    """A segment that lost a file, or the end of one, costs a slower start and nothing else."""
    with opened(folder) as store:
        filled(store)
        expected = truth(store)
    count = len(segment_files(folder))
    for place in range(count):
        harm(segment_files(folder)[place])
        with opened(folder) as store:
            assert shown(filled(store)[0]) == expected
        assert len(segment_files(folder)) == count


def test_segments_of_another_store_are_not_used(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After a backup was put in place, or files were mixed up, the store's own rows are shown."""
    other = tmp_path_factory.mktemp("other")
    with opened(other) as store:
        store.bind_model(ModelMark("a-model", DIMENSIONS))
        change(store, *(partial(insert, make_memory(f"other{place}")) for place in range(ROWS)))
        filled(store)
    (other / DERIVED_NAME).rename(folder / DERIVED_NAME)
    with opened(folder) as store:
        assert shown(filled(store)[0]) == truth(store)


def test_a_segment_of_another_layout_is_made_again(folder: Path) -> None:
    """Codes of one kind are never taken for those of another."""
    with opened(folder) as store:
        filled(store, Float32Coding())
        columns, _ = filled(store, Int8Coding())
        assert shown(columns) == truth(store)
        queries = Int8Coding().encode(columns.view.blocks[0].vectors[:2])
        assert columns.view.blocks[0].codes.scores(queries, 1.0, queries.units.new_zeros(BLOCK_ROWS)).any()


def test_a_damaged_row_is_found_at_every_start(folder: Path) -> None:
    """Rows whose checksum is wrong never become part of a segment, so each start counts them."""
    with closing(apsw.Connection(str(folder / FILE_NAME))) as connection:
        connection.execute("UPDATE memories SET text = 'flipped' WHERE id = 'm70'")
    for _ in range(2):
        with opened(folder) as store:
            columns, counts = filled(store)
            assert "m70" not in shown(columns)
            assert (sum(counts), store.info().damaged_rows) == (ROWS - 1, 1)


def test_without_room_for_segments_the_start_succeeds(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the folder cannot be written, everything is read from the store, and said so once."""
    (folder / DERIVED_NAME).write_text("in the way")
    with caplog.at_level(logging.WARNING), opened(folder) as store:
        assert shown(filled(store)[0]) == truth(store)
    assert caplog.text.count("the next start will take longer") == 1


def test_the_last_room_of_the_disk_is_left_to_memories(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a disk that is nearly full no segment is begun, nothing of one is left, and the start succeeds."""
    monkeypatch.setattr(mapped_arrays, "LEFT_FREE_BYTES", 1 << 62)
    with caplog.at_level(logging.WARNING), opened(folder) as store:
        assert shown(filled(store)[0]) == truth(store)
    assert "kept for memories" in caplog.text
    assert list((folder / DERIVED_NAME).iterdir()) == []


def test_mapped_vectors_are_those_of_the_store(folder: Path) -> None:
    """What is mapped from a segment equals the unit vectors computed from the store, bit for bit."""
    with opened(folder) as store:
        filled(store)
        columns, _ = filled(store)
        expected = unit(np.stack([memory.vector for memory in everything(store)]))
        assert np.array_equal(columns.view.vectors_of(np.arange(ROWS)), expected)


def everything(store: SqliteStore) -> Iterator[Memory]:
    """All memories, by seq."""
    for step in store.read_all(None, 1000):
        yield from step
