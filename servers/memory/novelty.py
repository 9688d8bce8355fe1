"""How new each memory of a group is: against what is shown already and against the group's earlier ones.

It decides which neighbour counts; it does not know how far a group will get. Only memories that were
accepted count, so a refused batch leaves no trace in the surprise of what follows it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from servers.memory.columns import unit
from servers.memory.products import products
from servers.memory.search import Neighbour


class Neighbours(Protocol):
    """Whatever can find the nearest known memories."""

    def nearest(
        self, units: npt.NDArray[np.float32], namespaces: Sequence[str], now_ms: int
    ) -> list[Neighbour | None]:
        """Return, for every row of `units` (n, d; of length 1), the nearest memory of its namespace."""


class Novelty:
    """Neighbours of the rows of `vectors` (n, d), asked for one by one in the order of the group."""

    def __init__(
        self,
        known: Neighbours,
        vectors: npt.NDArray[np.float32],
        namespaces: Sequence[str],
        now_ms: int,
    ) -> None:
        units = unit(vectors)
        self._known = known.nearest(units, namespaces, now_ms) if len(units) else []
        self._ids: dict[int, str] = {}
        if len(units) > 1:
            self._compare(units, namespaces)

    def _compare(self, units: npt.NDArray[np.float32], namespaces: Sequence[str]) -> None:
        """Compare the rows of the group with each other."""
        self._among = _similarities(units, namespaces)
        # No row accepted so far can be nearer than this; most often the known neighbour is.
        before = np.tri(len(units), k=-1, dtype=np.bool_)
        self._nearest_before: list[float] = self._among.max(axis=1, initial=-np.inf, where=before).tolist()

    def nearest(self, row: int) -> Neighbour | None:
        """Return the most similar memory to that row, known or accepted before; the known one wins a tie."""
        known = self._known[row]
        if not self._ids or (known is not None and known.similarity >= min(1.0, self._nearest_before[row])):
            return known
        accepted = np.fromiter(self._ids, dtype=np.int64, count=len(self._ids))
        similarities = self._among[row, accepted]
        best = int(similarities.argmax())
        similarity = min(1.0, float(similarities[best]))
        if similarity == -np.inf or (known is not None and known.similarity >= similarity):
            return known
        return Neighbour(max(-1.0, similarity), self._ids[int(accepted[best])])

    def accept(self, row: int, memory_id: str) -> None:
        """Count that row among the known from now on."""
        self._ids[row] = memory_id

    def withdraw(self, rows: Sequence[int]) -> None:
        """Forget that these rows were accepted: their operation failed."""
        for row in rows:
            self._ids.pop(row, None)


def _similarities(units: npt.NDArray[np.float32], namespaces: Sequence[str]) -> npt.NDArray[np.float32]:
    """The similarity of every pair of rows (n, n), minus infinity across namespaces."""
    codes = {namespace: code for code, namespace in enumerate(dict.fromkeys(namespaces))}
    places = np.array([codes[namespace] for namespace in namespaces], dtype=np.int64)
    similarities = products(units, units)
    if len(codes) > 1:
        similarities[places[:, None] != places] = -np.inf
    return similarities
