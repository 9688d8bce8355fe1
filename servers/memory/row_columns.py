"""One value per memory for each thing that a search ranks or filters by, as columns that grow together.

It decides how the values lie and grow; it does not know vectors, nor when a row becomes visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.store.base import Columns

_KINDS: Final[dict[str, type[np.generic]]] = {
    "namespaces": np.int32,
    "significances": np.float64,
    "timestamps_ms": np.int64,
    "expires_at_ms": np.int64,
    "seqs": np.int64,
    "alive": np.bool_,
}

Values = Any
"""A column: numpy's array in this machine's memory, torch's tensor on a GPU.

Both mean the same by all that is done to them here, and for a few rows torch takes five times as long.
"""


class RowColumns:
    """Columns on one device with room for `capacity` rows; one thread writes, any reads what is written."""

    def __init__(self, torch: Any, device: Any, capacity: int) -> None:
        self._torch = torch
        self._device = device
        self._namespaces: dict[str, int] = {}
        self._columns = self._allocate(capacity)

    @property
    def capacity(self) -> int:
        """For how many rows there is room."""
        return len(self._columns["seqs"])

    @property
    def namespace_count(self) -> int:
        """How many namespaces have a number."""
        return len(self._namespaces)

    def code_of(self, namespace: str) -> int | None:
        """Return the number that stands for a namespace, None if nothing was in it."""
        return self._namespaces.get(namespace)

    def first(self, rows: int) -> dict[str, Values]:
        """Return the first rows of every column, by its name."""
        return {name: column[:rows] for name, column in self._columns.items()}

    def grow(self, filled: int, needed: int) -> None:
        """Move to columns for `needed` rows at least, twice as many as now if that is more."""
        larger = self._allocate(max(needed, 2 * self.capacity))
        for name, column in self._columns.items():
            larger[name][:filled] = column[:filled]
        self._columns = larger

    def write(self, start: int, columns: Columns) -> None:
        """Write these rows, all of them alive, from `start` on."""
        end = start + len(columns.ids)
        self._put("namespaces", start, end, self._codes(columns.namespaces))
        self._put("significances", start, end, columns.significances)
        self._put("timestamps_ms", start, end, columns.timestamps_ms)
        self._put("expires_at_ms", start, end, columns.expires_at_ms)
        self._put("seqs", start, end, columns.seqs)
        self._columns["alive"][start:end] = True

    def mark(self, rows: npt.NDArray[np.int64], *, alive: bool) -> None:
        """Mark these rows; also readers that have begun see it."""
        self._columns["alive"][self._placed(rows)] = alive

    def mark_anew(self, rows: npt.NDArray[np.int64]) -> None:
        """Mark these rows as deleted for those who read from now on, and nobody else."""
        column = self._columns["alive"]
        self._columns["alive"] = column.copy() if isinstance(column, np.ndarray) else column.clone()
        self.mark(rows, alive=False)

    def _put(self, name: str, start: int, end: int, values: npt.NDArray[Any]) -> None:
        self._columns[name][start:end] = self._placed(values)

    def _placed(self, values: npt.NDArray[Any]) -> Values:
        """The values where the columns are."""
        return values if self._device.type == "cpu" else self._torch.from_numpy(values).to(self._device)

    def _codes(self, namespaces: Sequence[str]) -> npt.NDArray[np.int32]:
        known = self._namespaces
        return np.array([known.setdefault(name, len(known)) for name in namespaces], dtype=np.int32)

    def _allocate(self, capacity: int) -> dict[str, Values]:
        # Not zeros: pages that no row has been written to take no memory yet.
        if self._device.type == "cpu":
            return {name: np.empty(capacity, dtype=kind) for name, kind in _KINDS.items()}
        types = {name: self._torch.from_numpy(np.empty(0, dtype=kind)).dtype for name, kind in _KINDS.items()}
        return {
            name: self._torch.empty(capacity, dtype=kind, device=self._device) for name, kind in types.items()
        }
