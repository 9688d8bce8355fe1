"""The growing columns: room made ahead, views that never change their length."""

from dataclasses import replace

import numpy as np
import pytest

from servers.memory.columns import TensorColumns, unit
from servers.memory.store.base import columns_of
from tests.servers.memory.doubles import DIMENSIONS, make_memory


def test_a_view_is_not_disturbed_by_appends() -> None:
    """Rows appended later are in later views only, also when the columns had to move to a larger place."""
    columns = TensorColumns(DIMENSIONS, capacity=1)
    columns.append(columns_of([make_memory("a", seq=1)], DIMENSIONS))
    early = columns.view
    columns.append(columns_of([make_memory(f"m{i}", seq=i) for i in range(2, 50)], DIMENSIONS))
    assert (early.rows, len(early.seqs), columns.view.rows) == (1, 1, 49)
    assert columns.view.seqs.tolist() == list(range(1, 50))
    first = np.array([0])
    assert np.array_equal(early.vectors_of(first), columns.view.vectors_of(first))


def test_vectors_are_found_in_every_block() -> None:
    """Rows asked for in any order come in that order, whichever blocks hold them; no block ever moves."""
    columns = TensorColumns(DIMENSIONS, block_rows=256)
    memories = [make_memory(f"m{i}", seq=i + 1) for i in range(600)]
    columns.append(columns_of(memories[:100], DIMENSIONS))
    place = columns.view.blocks[0].vectors.data_ptr()
    columns.append(columns_of(memories[100:], DIMENSIONS))
    rows = np.array([599, 0, 256, 255, 512, 0])
    assert np.array_equal(
        columns.view.vectors_of(rows), unit(np.stack([memories[row].vector for row in rows]))
    )
    assert columns.view.blocks[0].vectors.data_ptr() == place
    assert columns.rows_of(np.array([600, 1, 601, 300])).tolist() == [599, 0, 299]


def test_reserved_room_is_used_in_place() -> None:
    """After `reserve`, an append of so many rows needs no new memory."""
    columns = TensorColumns(DIMENSIONS, capacity=1)
    columns.append(columns_of([make_memory("first", seq=1000)], DIMENSIONS))
    columns.reserve(100)
    place = columns.view.seqs.ctypes.data
    columns.append(columns_of([make_memory(f"m{i}", seq=i) for i in range(1, 101)], DIMENSIONS))
    assert columns.view.seqs.ctypes.data == place


def test_a_mark_shows_in_views_taken_before() -> None:
    """A deletion reaches even a search that has begun; unknown seqs are given back."""
    columns = TensorColumns(DIMENSIONS)
    columns.append(columns_of([make_memory("a", seq=7)], DIMENSIONS))
    view = columns.view
    assert columns.mark([7, 8], alive=False) == [8]
    assert view.alive.tolist() == [False]
    assert columns.mark([7], alive=True) == []
    assert view.alive.tolist() == [True]


def test_unit_vectors_have_length_one() -> None:
    """Large, small and ordinary rows end at length 1; a zero row stays zero."""
    rows = np.array([[3, 4], [3e30, 4e30], [3e-30, 4e-30], [0, 0]], dtype=np.float32)
    assert np.allclose(unit(rows), [[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0, 0]])


def test_replaced_rows_change_in_one_step() -> None:
    """A view taken before sees only the old row, one taken after only the new row, under the same seq."""
    columns = TensorColumns(DIMENSIONS)
    columns.append(columns_of([make_memory("a", seq=1), make_memory("b", seq=2)], DIMENSIONS))
    before = columns.view
    changed = make_memory("a", significance=0.9, seq=1)
    columns.replace(columns_of([changed], DIMENSIONS))
    assert before.alive.tolist() == [True, True]
    after = columns.view
    alive = np.flatnonzero(after.alive)
    assert sorted(after.seqs[alive].tolist()) == [1, 2]
    assert after.significances[alive].max() == 0.9
    assert columns.mark([1], alive=False) == []
    assert after.seqs[columns.view.alive].tolist() == [2]


def test_only_a_full_block_is_adopted_behind_full_blocks() -> None:
    """A block cannot be put behind a started one, nor half of one; what is adopted is found like any row."""
    columns = TensorColumns(DIMENSIONS, block_rows=64)
    rows = columns_of([make_memory(f"m{i}", seq=i + 1) for i in range(64)], DIMENSIONS)
    units = replace(rows, vectors=unit(rows.vectors))
    alive = np.arange(64) != 3
    columns.adopt(units, alive, {})
    assert columns.view.alive.tolist() == alive.tolist()
    assert columns.rows_of(np.array([64, 4])).tolist() == [63, 3]
    assert np.array_equal(columns.view.vectors_of(np.arange(64)), units.vectors)
    columns.append(columns_of([make_memory("later", seq=65)], DIMENSIONS))
    with pytest.raises(ValueError, match="full block"):
        columns.adopt(units, alive, {})
