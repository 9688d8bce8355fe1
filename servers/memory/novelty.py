"""How new each memory of a group is: against what is shown already and against the group's earlier ones.

It decides which neighbour counts; it does not know how far a group will get. Only memories that were
accepted count, so a refused batch leaves no trace in the surprise of what follows it.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from servers.memory.columns import unit
from servers.memory.search import Neighbour

ALONE_PRODUCTS: Final = 1 << 18
"""Up to so many products OpenBLAS computes in the calling thread; those of more threads spin for a while."""


class Neighbours(Protocol):
    """Whatever can find the nearest known memories."""

    def nearest(
        self, vectors: npt.NDArray[np.float32], namespaces: Sequence[str], now_ms: int
    ) -> list[Neighbour | None]:
        """Return, for every row of `vectors`, the most similar visible memory of its namespace."""


class Novelty:
    """Neighbours of the rows of `vectors` (n, d), asked for one by one in the order of the group."""

    def __init__(
        self,
        known: Neighbours,
        vectors: npt.NDArray[np.float32],
        namespaces: Sequence[str],
        now_ms: int,
    ) -> None:
        self._known = known.nearest(vectors, namespaces, now_ms) if len(vectors) else []
        self._among = _similarities(unit(vectors), namespaces)
        # No row accepted so far can be nearer than this; most often the known neighbour is.
        before = np.tri(len(vectors), k=-1, dtype=np.bool_)
        self._nearest_before: list[float] = self._among.max(axis=1, initial=-np.inf, where=before).tolist()
        # Added to a row of similarities, it leaves those of the accepted rows and hides all others.
        self._hiding = np.full(len(vectors), -np.inf, dtype=np.float32)
        self._ids: dict[int, str] = {}

    def nearest(self, row: int) -> Neighbour | None:
        """Return the most similar memory to that row, known or accepted before; the known one wins a tie."""
        known = self._known[row]
        if not self._ids or (known is not None and known.similarity >= min(1.0, self._nearest_before[row])):
            return known
        similarities = self._among[row] + self._hiding
        best = int(similarities.argmax())
        similarity = min(1.0, float(similarities[best]))
        if similarity == -np.inf or (known is not None and known.similarity >= similarity):
            return known
        return Neighbour(max(-1.0, similarity), self._ids[best])

    def accept(self, row: int, memory_id: str) -> None:
        """Count that row among the known from now on."""
        self._hiding[row] = 0.0
        self._ids[row] = memory_id

    def withdraw(self, rows: Sequence[int]) -> None:
        """Forget that these rows were accepted: their operation failed."""
        for row in rows:
            self._hiding[row] = -np.inf
            self._ids.pop(row, None)


def _similarities(units: npt.NDArray[np.float32], namespaces: Sequence[str]) -> npt.NDArray[np.float32]:
    """The similarity of every pair of rows (n, n), minus infinity across namespaces."""
    codes = {namespace: code for code, namespace in enumerate(dict.fromkeys(namespaces))}
    places = np.array([codes[namespace] for namespace in namespaces], dtype=np.int64)
    similarities = np.empty((len(units), len(units)), dtype=np.float32)
    step = max(1, ALONE_PRODUCTS // max(1, units.size))
    for first in range(0, len(units), step):
        similarities[first : first + step] = units[first : first + step] @ units.T
    if len(codes) > 1:
        similarities[places[:, None] != places] = -np.inf
    return similarities
