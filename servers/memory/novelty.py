"""How new each memory of a group is: against what is shown already and against the group's earlier ones.

It decides which neighbour counts; it does not know how far a group will get. Only memories that were
accepted count, so a refused batch leaves no trace in the surprise of what follows it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from servers.memory.columns import unit
from servers.memory.search import Neighbour


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
        self._namespaces = namespaces
        self._units = unit(vectors)
        self._accepted: dict[str, list[tuple[int, str]]] = {}

    def nearest(self, row: int) -> Neighbour | None:
        """Return the most similar memory to that row, known or accepted before; the known one wins a tie."""
        known = self._known[row]
        earlier = self._accepted.get(self._namespaces[row])
        if not earlier:
            return known
        similarities = self._units[[position for position, _ in earlier]] @ self._units[row]
        best = int(similarities.argmax())
        similarity = float(np.clip(similarities[best], -1.0, 1.0))
        if known is not None and known.similarity >= similarity:
            return known
        return Neighbour(similarity, earlier[best][1])

    def accept(self, row: int, memory_id: str) -> None:
        """Count that row among the known from now on."""
        self._accepted.setdefault(self._namespaces[row], []).append((row, memory_id))

    def withdraw(self, rows: Sequence[int]) -> None:
        """Forget that these rows were accepted: their operation failed."""
        gone = set(rows)
        for namespace, earlier in self._accepted.items():
            self._accepted[namespace] = [entry for entry in earlier if entry[0] not in gone]
