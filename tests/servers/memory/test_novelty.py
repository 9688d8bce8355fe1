"""Novelty inside a group: earlier memories count once they are accepted, refused ones never."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from servers.memory.novelty import Novelty
from servers.memory.search import Neighbour

ROWS = np.array([[1, 0], [0.6, 0.8], [1, 0], [0, 1]], dtype=np.float32)


class Known:
    """A known world with one answer for every row."""

    def __init__(self, answer: Neighbour | None) -> None:
        self.answer = answer

    def nearest(
        self, vectors: npt.NDArray[np.float32], namespaces: Sequence[str], now_ms: int
    ) -> list[Neighbour | None]:
        """The one answer, for every row."""
        return [self.answer] * len(vectors)


def novelty(answer: Neighbour | None = None, namespaces: Sequence[str] = ("a",) * 4) -> Novelty:
    """A group of four rows before a world with that answer."""
    return Novelty(Known(answer), ROWS, namespaces, 0)


def test_the_first_of_an_empty_world_has_no_neighbour() -> None:
    """Nothing known and nothing accepted gives None."""
    assert novelty().nearest(0) is None


def test_accepted_rows_become_neighbours() -> None:
    """The most similar of the accepted rows is found, and only of those."""
    group = novelty()
    group.accept(0, "first")
    found = group.nearest(1)
    assert found is not None
    assert (found.id, found.similarity) == ("first", pytest.approx(0.6))
    group.accept(1, "second")
    found = group.nearest(3)
    assert found is not None
    assert (found.id, found.similarity) == ("second", pytest.approx(0.8))


def test_the_known_world_counts_as_well() -> None:
    """Whichever is more similar wins; on a tie the known one."""
    group = novelty(Neighbour(0.7, "old"))
    group.accept(0, "first")
    assert group.nearest(1) == Neighbour(0.7, "old")
    assert group.nearest(2) == Neighbour(1.0, "first")
    tied = novelty(Neighbour(1.0, "old"))
    tied.accept(0, "first")
    assert tied.nearest(2) == Neighbour(1.0, "old")


def test_namespaces_do_not_see_each_other() -> None:
    """An accepted row of another namespace is no neighbour."""
    group = novelty(namespaces=("a", "a", "b", "b"))
    group.accept(0, "first")
    assert group.nearest(2) is None


def test_withdrawn_rows_are_forgotten() -> None:
    """After a batch was refused, its rows count no more."""
    group = novelty()
    group.accept(0, "first")
    group.withdraw([0])
    assert group.nearest(2) is None


def test_a_group_without_new_memories_asks_nothing() -> None:
    """An empty group is fine."""
    Novelty(Known(None), np.empty((0, 1), np.float32), [], 0)
