"""Values beside the vectors: written in place, moved as they grow, marked for all or for later readers."""

import numpy as np
import torch

from servers.memory.row_columns import RowColumns
from servers.memory.store.base import Columns, columns_of
from tests.servers.memory.doubles import DIMENSIONS, make_memory


def rows(first: int, last: int, namespace: str = "default") -> Columns:
    """Memories with these seqs."""
    memories = [
        make_memory(f"m{seq}", seq=seq, namespace=namespace, significance=seq / 100)
        for seq in range(first, last + 1)
    ]
    return columns_of(memories, DIMENSIONS)


def values(capacity: int = 4) -> RowColumns:
    """Columns on the CPU."""
    return RowColumns(torch, torch.device("cpu"), capacity)


def test_what_was_written_survives_growing() -> None:
    """Rows lie where they were written; room at least doubles, and is as much as was asked for."""
    kept = values()
    kept.write(0, rows(1, 4))
    kept.grow(4, 5)
    assert kept.capacity == 8
    kept.write(4, rows(5, 6, "other"))
    kept.grow(6, 100)
    assert kept.capacity == 100
    found = kept.first(6)
    assert found["seqs"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found["significances"].tolist() == [seq / 100 for seq in range(1, 7)]
    assert found["alive"].all()


def test_namespaces_get_numbers_as_they_come() -> None:
    """Each has one of its own, which stays; one that never came has none."""
    kept = values()
    kept.write(0, rows(1, 2, "b"))
    kept.write(2, rows(3, 3, "a"))
    assert (kept.code_of("b"), kept.code_of("a"), kept.code_of("c")) == (0, 1, None)
    assert kept.namespace_count == 2
    assert kept.first(3)["namespaces"].tolist() == [0, 0, 1]


def test_a_mark_reaches_who_reads_already_or_only_who_comes_later() -> None:
    """A deletion is seen at once; a replacement must not change what a reader has begun with."""
    kept = values()
    kept.write(0, rows(1, 3))
    early = kept.first(3)
    kept.mark(np.array([1]), alive=False)
    assert early["alive"].tolist() == [True, False, True]
    kept.mark_anew(np.array([0]))
    assert early["alive"].tolist() == [True, False, True]
    assert kept.first(3)["alive"].tolist() == [False, False, True]


def test_rows_written_again_are_alive() -> None:
    """Writing begins with every mark set."""
    kept = values()
    kept.write(0, rows(1, 2))
    kept.mark(np.array([0, 1]), alive=False)
    kept.write(0, rows(1, 2))
    assert kept.first(2)["alive"].all()
