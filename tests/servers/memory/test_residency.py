"""An index whose full blocks lie in files answers what one in memory does, and keeps to its budget."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.memory import mapped_arrays, residency
from servers.memory.codes import Mode
from servers.memory.coding_choice import choose_coding
from servers.memory.index import VectorIndex
from servers.memory.index_budget import IndexBudget
from servers.memory.residency import Budgeted
from servers.memory.search import Search
from servers.memory.store.base import Memory, columns_of
from tests.servers.memory.doubles import DIMENSIONS, make_memory, make_vector
from tests.servers.memory.search_model import NOW_MS, Model, searches

BLOCK_ROWS = 64
MODES: list[Mode] = ["int8", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Loading(IndexBudget):
    """A budget that allows the codes of a given number of blocks."""

    allowed: int = 0

    def blocks_loaded(self, rows: int, id_bytes: int) -> int:
        """That number."""
        return self.allowed


@contextmanager
def opened(mode: Mode, allowed: int, folder: Path) -> Iterator[tuple[VectorIndex, Budgeted]]:
    """An index of small blocks in files, the codes of so many of them loaded."""
    budget = Loading(1 << 24, DIMENSIONS, 1, BLOCK_ROWS, allowed)
    where = Budgeted(budget, folder)
    coding = choose_coding("cpu", DIMENSIONS, mode, is_frugal=True)
    index = VectorIndex(DIMENSIONS, coding=coding, block_rows=BLOCK_ROWS, residency=where)
    try:
        yield index, where
    finally:
        index.close()


def crowd(seed: int, rows: int) -> list[Memory]:
    """Memories of which many are twins, and most have equals in something."""
    rng = np.random.default_rng(seed)
    return [
        make_memory(
            f"m{place:04}-{rng.integers(10)}",
            seq=place,
            vector=make_vector(str(rng.integers(40))) * np.float32(1 + rng.integers(3)),
            significance=float(rng.choice([0.0, 0.25, 0.5, 1.0])),
            timestamp_ms=NOW_MS + int(rng.choice([-5000, -1000, 0, 1000])),
            namespace=str(rng.choice(["default", "default", "other"])),
            expires_at_ms=[None, NOW_MS, NOW_MS + 1][rng.integers(3)],
        )
        for place in range(1, rows + 1)
    ]


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 5 * BLOCK_ROWS),
    step=st.sampled_from([1, 40, 64, 200]),
    allowed=st.integers(0, 5),
    deleted=st.sets(st.integers(1, 300), max_size=100),
    revived=st.sets(st.integers(1, 300), max_size=50),
    changed=st.sets(st.integers(1, 300), max_size=50),
    asked=st.lists(searches, min_size=1, max_size=4),
)
def test_a_search_over_files_equals_a_plain_sort(
    mode: Mode,
    seed: int,
    rows: int,
    step: int,
    allowed: int,
    deleted: set[int],
    revived: set[int],
    changed: set[int],
    asked: list[Search],
) -> None:
    """Whatever was stored, deleted, revived and changed, before or after it came to lie in files."""
    known = crowd(seed, rows)
    with TemporaryDirectory() as folder, opened(mode, allowed, Path(folder)) as (index, where):
        for start in range(0, rows, step):
            index.append(columns_of(known[start : start + step], DIMENSIONS))
        index.remove(sorted(deleted))
        index.revive(columns_of([one for one in known if one.seq in deleted & revived], DIMENSIONS))
        others = {
            one.seq: replace(one, vector=make_vector("other"), significance=0.75)
            for one in known
            if one.seq in changed - deleted
        }
        if others:
            index.replace(columns_of(list(others.values()), DIMENSIONS))
        model = Model([others.get(one.seq, one) for one in known], deleted - revived)
        for _ in range(2):
            for search, found in zip(asked, index.search_many(asked), strict=True):
                hits = [hit.seq for hit in found.hits]
                assert (hits, found.total, found.hidden) == model.expected(search)
            where.settle()
        state = index.state()
        assert state.blocks_in_files == state.blocks == (rows + len(others)) // BLOCK_ROWS
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("allowed", [0, 2])
def test_neighbours_are_found_in_files(mode: Mode, allowed: int, tmp_path: Path) -> None:
    """The nearest of many vectors at once are as near as those of an index in memory: which twin is open."""
    known = crowd(5, 4 * BLOCK_ROWS + 3)
    plain = VectorIndex(DIMENSIONS, mode=mode)
    plain.append(columns_of(known, DIMENSIONS))
    vectors = np.stack([make_vector(f"asked {place}") for place in range(20)])
    namespaces = ["default", "other"] * 10
    with opened(mode, allowed, tmp_path) as (index, where):
        index.append(columns_of(known, DIMENSIONS))
        where.settle()
        found = index.nearest(vectors, namespaces, NOW_MS)
    expected = plain.nearest(vectors, namespaces, NOW_MS)
    assert [one and one.similarity for one in found] == [one and one.similarity for one in expected]
    plain.close()


@pytest.mark.parametrize("mode", ["int8", "float16"])
def test_codes_are_loaded_and_unloaded_as_the_budget_says(mode: Mode, tmp_path: Path) -> None:
    """Never are the codes of more blocks in memory than fit, and the memory held falls with them."""
    held = {}
    for allowed in (0, 1, 4, 9):
        with opened(mode, allowed, tmp_path) as (index, where):
            index.append(columns_of(crowd(1, 5 * BLOCK_ROWS), DIMENSIONS))
            where.settle()
            state = index.state()
            assert (state.blocks, state.blocks_loaded) == (5, min(allowed, 5))
            held[allowed] = state.held_bytes
    assert held[0] < held[1] < held[4] < held[9]


def test_growing_makes_room_for_rows_by_unloading_codes(tmp_path: Path) -> None:
    """With a real budget the memory held never exceeds it, and the last codes go before a row is refused."""
    budget = IndexBudget(1 << 20, DIMENSIONS, DIMENSIONS, 256)
    where = Budgeted(budget, tmp_path)
    coding = choose_coding("cpu", DIMENSIONS, "int8", is_frugal=True)
    index = VectorIndex(DIMENSIONS, coding=coding, block_rows=256, residency=where)
    loaded = []
    try:
        stored = 0
        while left := index.columns.rows_left():
            more = crowd(stored, min(left, 512))
            index.append(columns_of([replace(one, seq=stored + one.seq) for one in more], DIMENSIONS))
            stored += len(more)
            where.settle()
            state = index.state()
            assert state.held_bytes <= 1 << 20
            loaded.append(state.blocks_loaded)
        assert stored >= budget.most_rows * 9 // 10
        assert max(loaded) > loaded[-1] == 0
    finally:
        index.close()


def fail_with(error: OSError) -> Callable[..., None]:
    """A disk that takes nothing."""

    def fail(*_: object) -> None:
        raise error

    return fail


def test_blocks_stay_in_memory_while_the_disk_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is said once and costs memory, not answers; what waited moves once there is room again."""
    known = crowd(3, 5 * BLOCK_ROWS)
    search = Search("default", NOW_MS, 50, sort="relevance", query=make_vector("q"))
    expected, _, _ = Model(known, set()).expected(search)
    with opened("int8", 9, tmp_path) as (index, where):
        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
            full = OSError(errno.ENOSPC, "No space left on device")
            patched.setattr(residency, "moved_to_disk", fail_with(full))
            for start in range(0, 4 * BLOCK_ROWS, BLOCK_ROWS):
                index.append(columns_of(known[start : start + BLOCK_ROWS], DIMENSIONS))
            where.settle()
        assert caplog.text.count("index_memory") == 1
        assert "No space left on device" in caplog.text
        assert (index.state().blocks, index.state().blocks_in_files) == (4, 0)
        index.append(columns_of(known[4 * BLOCK_ROWS :], DIMENSIONS))
        where.settle()
        assert index.state().blocks_in_files == 5
        assert [hit.seq for hit in index.search(search).hits] == expected


def test_the_last_room_of_the_disk_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is nearly full, blocks stay in memory and nothing is left behind."""
    monkeypatch.setattr(mapped_arrays, "LEFT_FREE_BYTES", 1 << 62)
    with opened("int8", 9, tmp_path / "new") as (index, where):
        index.append(columns_of(crowd(3, 2 * BLOCK_ROWS), DIMENSIONS))
        where.settle()
        assert index.state().blocks_in_files == 0
    assert list((tmp_path / "new").iterdir()) == []


def test_an_index_without_a_budget_stays_where_it_is() -> None:
    """Nothing is moved, refused or unloaded."""
    index = VectorIndex(DIMENSIONS, mode="int8", block_rows=BLOCK_ROWS)
    index.append(columns_of(crowd(1, 3 * BLOCK_ROWS), DIMENSIONS))
    state = index.state()
    assert (state.blocks, state.blocks_in_files, state.blocks_loaded) == (3, 0, 3)
    assert (state.budget_bytes, state.rows_left) == (None, None)
    index.close()
