"""An index in files over every store: filled at a start, grown while serving, equal to a plain sort."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servers.memory.codes import Mode
from servers.memory.coding_choice import choose_coding
from servers.memory.filters import parse_filter
from servers.memory.index import VectorIndex
from servers.memory.index_budget import IndexBudget
from servers.memory.loading import fill
from servers.memory.residency import Budgeted
from servers.memory.scoring import RankWeights
from servers.memory.search import Search
from servers.memory.store.base import Memory, Store, Transaction, columns_of
from tests.servers.memory.doubles import DIMENSIONS, make_memory, make_vector
from tests.servers.memory.search_model import NOW_MS, Model
from tests.servers.memory.store.filling import MODEL, OpenStore, put

BLOCK_ROWS = 64
BUDGET = IndexBudget(1 << 24, DIMENSIONS, DIMENSIONS, BLOCK_ROWS)


def crowd(start: int, end: int) -> list[Memory]:
    """Memories of which many are twins; every third one is tagged."""
    rng = np.random.default_rng(start)
    return [
        make_memory(
            f"m{place:03}",
            vector=make_vector(str(rng.integers(30))),
            significance=float(rng.choice([0.0, 0.25, 0.5])),
            timestamp_ms=NOW_MS - int(rng.choice([0, 1000, 5000])),
            tags=("third",) if place % 3 == 0 else (),
        )
        for place in range(start, end)
    ]


@contextmanager
def filled(store: Store, mode: Mode, folder: Path) -> Iterator[VectorIndex]:
    """An index in files with everything that the store holds, as after a start."""
    coding = choose_coding("cpu", DIMENSIONS, mode, is_frugal=True)
    index = VectorIndex(DIMENSIONS, coding=coding, block_rows=BLOCK_ROWS, residency=Budgeted(BUDGET, folder))
    try:
        fill(index.columns, store, lambda rows: None)
        yield index
    finally:
        index.close()


def assert_equal(store: Store, index: VectorIndex) -> None:
    """The index finds what sorting the store's memories would, with and without a filter."""
    kept = [memory for step in store.read_all(None, 1000) for memory in step]
    tagged = store.matching("default", parse_filter({"tags": "third"}))
    for seed in range(4):
        for allowed in (None, tagged):
            search = Search(
                "default",
                NOW_MS,
                40,
                sort="relevance",
                query=make_vector(f"query {seed}"),
                weights=RankWeights(0.6, 0.25 * seed, 0.15),
                allowed=allowed,
            )
            found = index.search(search)
            expected = Model(kept, set()).expected(search)
            assert ([hit.seq for hit in found.hits], found.total, found.hidden) == expected


def change(store: Store, *changes: Callable[[Transaction], object]) -> None:
    """Make the changes in one group."""
    store.apply(list(changes))


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
def test_the_index_in_files_follows_the_store(
    open_store: OpenStore, store: Store, tmp_path: Path, mode: Mode
) -> None:
    """Filled, grown by more blocks, rows deleted and replaced, then filled again by another process."""
    put(store, *crowd(0, 3 * BLOCK_ROWS + 10))
    with filled(store, mode, tmp_path / "index") as index:
        assert index.state().blocks_in_files == 3
        assert_equal(store, index)
        index.append(columns_of(put(store, *crowd(300, 300 + 2 * BLOCK_ROWS)), DIMENSIONS))
        known = store.find_many(["m001", "m002", "m301"])
        change(store, lambda transaction: transaction.set_deleted("m001", 1))
        index.remove([known["m001"].seq])
        changed = replace(known["m002"], vector=make_vector("changed"), significance=1.0)
        change(store, lambda transaction: transaction.replace(changed))
        index.replace(columns_of([changed], DIMENSIONS))
        assert_equal(store, index)
        index.columns.residency.settle()
        assert index.state().blocks_in_files == index.state().blocks == 5
        assert_equal(store, index)
    store.close()
    again = open_store()
    again.bind_model(MODEL)
    with filled(again, mode, tmp_path / "index") as index:
        assert index.state().blocks_in_files == index.state().blocks == 5
        assert_equal(again, index)
