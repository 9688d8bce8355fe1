"""What the first pass leaves out cannot be among the best, whatever the data look like."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.memory.codes import CHUNK_ROWS, Coding, Mode
from servers.memory.columns import TensorColumns, View, unit
from servers.memory.first_pass import FirstPass
from servers.memory.float_codes import Float16Coding, Float32Coding
from servers.memory.int8_codes import Int8Coding
from servers.memory.picking import Ask
from servers.memory.store.base import NEVER_MS, Columns

DIMENSIONS = 16
CODINGS: dict[Mode, Coding] = {"int8": Int8Coding(), "float16": Float16Coding(), "float32": Float32Coding()}


@contextmanager
def first_pass(mode: Mode) -> Iterator[FirstPass]:
    """A first pass that shares even a few rows among its threads, which end with the test."""
    made = FirstPass(torch, CODINGS[mode], piece_rows=CHUNK_ROWS)
    try:
        yield made
    finally:
        made.close()


def view_of(vectors: np.ndarray, mode: Mode, block_rows: int = 2 * CHUNK_ROWS) -> View:
    """A view of memories with these vectors."""
    columns = TensorColumns(vectors.shape[1], coding=CODINGS[mode], block_rows=block_rows)
    rows = len(vectors)
    columns.append(
        Columns(
            ids=[str(row) for row in range(rows)],
            namespaces=["default"] * rows,
            seqs=np.arange(1, rows + 1),
            timestamps_ms=np.zeros(rows, np.int64),
            expires_at_ms=np.full(rows, NEVER_MS),
            significances=np.zeros(rows),
            vectors=vectors,
        )
    )
    return columns.view


def clustered(rng: np.random.Generator, rows: int, spread: float) -> np.ndarray:
    """Unit vectors around three directions; the smaller the spread, the less 8 bits tell them apart."""
    centres = rng.normal(size=(3, DIMENSIONS))
    vectors = centres[rng.integers(0, 3, size=rows)] + spread * rng.normal(size=(rows, DIMENSIONS))
    return unit(vectors.astype(np.float32))


@pytest.mark.parametrize("rows", [1, 64, 65, 511, 512, 513, 1500, 2048])
def test_every_row_is_looked_at_in_tiles_and_parts_of_tiles(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However full the last tile of the last block is, the nearest row to each stored vector is itself."""
    for place in ("servers.memory.first_pass", "servers.memory.int8_codes"):
        monkeypatch.setattr(f"{place}.TILE_ROWS", 4 * CHUNK_ROWS)
    vectors = unit(np.random.default_rng(3).normal(size=(rows, 64)).astype(np.float32))
    view = view_of(vectors, "int8", block_rows=8 * CHUNK_ROWS)
    ask = Ask(torch.from_numpy(vectors), 1.0, torch.zeros(rows), 0.0, 0.0, 1)
    with first_pass("int8") as made:
        found = made.candidates(view, ask)
    assert set(range(rows)) <= set(found.rows[found.owners == found.rows].tolist())


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([1, 7, CHUNK_ROWS, 5 * CHUNK_ROWS, 12 * CHUNK_ROWS + 3]),
    spread=st.sampled_from([0.0, 1e-6, 1e-3, 1e-2, 1.0]),
    hidden=st.sampled_from([0.0, 0.5, 0.999]),
    wanted=st.sampled_from([1, 2, 3, 50]),
    relevance=st.sampled_from([0.0, 0.6, 3.0]),
    drift=st.sampled_from([0.0, 0.01]),
    queries=st.integers(1, 5),
)
def test_the_best_are_among_the_candidates(
    mode: Mode,
    seed: int,
    rows: int,
    spread: float,
    hidden: float,
    wanted: int,
    relevance: float,
    drift: float,
    queries: int,
) -> None:
    """Every row that a float64 sort puts among the wanted ones is a candidate, ties at the end included."""
    rng = np.random.default_rng(seed)
    view = view_of(clustered(rng, rows, spread), mode)
    asked = clustered(rng, queries, 0.5)
    bias = rng.choice([0.0, 0.125, 0.5], size=rows).astype(np.float32)
    bias[rng.random(rows) < hidden] = -np.inf
    bias[rng.integers(rows)] = 0.125  # one row at least is shown
    with first_pass(mode) as searcher:
        ask = Ask(torch.from_numpy(asked), relevance, torch.from_numpy(bias), 0.5, drift, wanted)
        found = searcher.candidates(view, ask)
    vectors = view.vectors_of(np.arange(rows)).astype(np.float64)
    assert bool((np.diff(found.owners) >= 0).all())
    for number, query in enumerate(asked.astype(np.float64)):
        mine = found.owners == number
        truth = relevance * (vectors @ query) + bias - drift * rng.random(rows)
        shown = np.flatnonzero(np.isfinite(truth))
        least = np.sort(truth[shown])[::-1][:wanted].min(initial=np.inf)
        best = shown[truth[shown] >= least]
        assert set(best.tolist()) <= set(found.rows[mine].tolist()) <= set(shown.tolist())
        assert len(set(found.rows[mine].tolist())) == mine.sum()
        assert bool((truth[found.rows[mine]] <= found.upper[mine] + 1e-6).all())


def test_threads_share_the_blocks_and_miss_none() -> None:
    """With many more blocks than threads, the candidates are few and hold the best ten."""
    rng = np.random.default_rng(3)
    rows = 32 * 1024 + 77
    vectors = unit(rng.normal(size=(rows, DIMENSIONS)).astype(np.float32))
    view = view_of(vectors, "int8", block_rows=1024)
    asked = unit(rng.normal(size=(3, DIMENSIONS)).astype(np.float32))
    with first_pass("int8") as searcher:
        ask = Ask(torch.from_numpy(asked), 1.0, torch.zeros(rows), 0.0, 0.0, 10)
        found = searcher.candidates(view, ask)
    for number, query in enumerate(asked):
        best = np.argsort(vectors.astype(np.float64) @ query)[::-1][:10]
        mine = found.rows[found.owners == number]
        assert set(best.tolist()) <= set(mine.tolist())
        assert len(mine) < rows / 20


def test_threads_of_others_keep_their_share_of_the_cores() -> None:
    """The single-threaded operations of the scanning threads change no other thread's."""
    before = torch.get_num_threads()
    with first_pass("float32"):
        assert torch.get_num_threads() == before


def test_passes_do_not_wait_for_each_other_in_a_circle() -> None:
    """More passes at once than there are threads all come to their end, with the same answer."""
    rng = np.random.default_rng(4)
    vectors = unit(rng.normal(size=(8 * 1024, DIMENSIONS)).astype(np.float32))
    view = view_of(vectors, "int8", block_rows=512)
    ask = Ask(torch.from_numpy(vectors[:1]), 1.0, torch.zeros(len(vectors)), 0.0, 0.0, 1)
    with first_pass("int8") as searcher, ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: searcher.candidates(view, ask), range(64)))
    assert all(0 in candidates.rows for candidates in found)


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
def test_who_shares_a_pass_gets_what_it_would_get_alone(mode: Mode) -> None:
    """Asks of different views, biases and numbers wanted do not disturb each other, however they overlap."""
    rng = np.random.default_rng(7)
    vectors = clustered(rng, 9 * CHUNK_ROWS, 0.3)
    asked = []
    for number in range(24):
        view = view_of(vectors[: (9 - number % 5) * CHUNK_ROWS - number], mode)
        bias = torch.from_numpy(rng.uniform(-0.2, 0.2, view.rows).astype(np.float32))
        units = torch.from_numpy(clustered(rng, 1 + number % 3, 0.3))
        asked.append((view, Ask(units, 0.5 + number % 2, bias, 0.2, 0.0, 1 + number % 4)))
    with first_pass(mode) as made, ThreadPoolExecutor(6) as threads:
        alone = [made.candidates(*one) for one in asked]
        together = list(threads.map(lambda one: made.candidates(*one), asked))
    for one, other in zip(together, alone, strict=True):
        best = [set(zip(found.owners.tolist(), found.rows.tolist(), strict=True)) for found in (one, other)]
        assert best[0] == best[1]
