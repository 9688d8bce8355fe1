"""One value per memory for each thing that a search ranks or filters by, as tensors that grow together.

It decides how the values lie and grow; it does not know vectors, nor when a row becomes visible.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from servers.memory.store.base import Columns


class RowColumns:
    """Tensors on one device with room for `capacity` rows; one thread writes, any reads what is written."""

    def __init__(self, torch: Any, device: Any, capacity: int) -> None:
        self._torch = torch
        self._device = device
        self._namespaces: dict[str, int] = {}
        self._tensors = self._allocate(capacity)

    @property
    def capacity(self) -> int:
        """For how many rows there is room."""
        return len(self._tensors["seqs"])

    @property
    def namespace_count(self) -> int:
        """How many namespaces have a number."""
        return len(self._namespaces)

    def code_of(self, namespace: str) -> int | None:
        """Return the number that stands for a namespace, None if nothing was in it."""
        return self._namespaces.get(namespace)

    def first(self, rows: int) -> dict[str, Any]:
        """Return the first rows of every tensor, by its name."""
        return {name: tensor[:rows] for name, tensor in self._tensors.items()}

    def grow(self, filled: int, needed: int) -> None:
        """Move to tensors for `needed` rows at least, twice as many as now if that is more."""
        larger = self._allocate(max(needed, 2 * self.capacity))
        for name, tensor in self._tensors.items():
            larger[name][:filled] = tensor[:filled]
        self._tensors = larger

    def write(self, start: int, columns: Columns) -> None:
        """Write these rows, all of them alive, from `start` on."""
        end = start + len(columns.ids)
        for name, values in self._arrays(columns).items():
            if self._device.type == "cpu":  # without the detour, which for a single row is most of the work
                self._tensors[name].numpy()[start:end] = values
            else:
                self._tensors[name][start:end] = self._torch.from_numpy(values).to(self._device)

    def mark(self, rows: npt.NDArray[np.int64], *, alive: bool) -> None:
        """Mark these rows; also readers that have begun see it."""
        self._tensors["alive"][self._torch.from_numpy(rows).to(self._device)] = alive

    def mark_anew(self, rows: npt.NDArray[np.int64]) -> None:
        """Mark these rows as deleted for those who read from now on, and nobody else."""
        self._tensors["alive"] = self._tensors["alive"].clone()
        self.mark(rows, alive=False)

    def _arrays(self, columns: Columns) -> dict[str, npt.NDArray[Any]]:
        codes = [self._namespaces.setdefault(name, len(self._namespaces)) for name in columns.namespaces]
        return {
            "namespaces": np.array(codes, dtype=np.int32),
            "significances": columns.significances,
            "timestamps_ms": columns.timestamps_ms,
            "expires_at_ms": columns.expires_at_ms,
            "seqs": columns.seqs,
            "alive": np.ones(len(codes), dtype=np.bool_),
        }

    def _allocate(self, capacity: int) -> dict[str, Any]:
        kinds = {
            "namespaces": self._torch.int32,
            "significances": self._torch.float64,
            "timestamps_ms": self._torch.int64,
            "expires_at_ms": self._torch.int64,
            "seqs": self._torch.int64,
            "alive": self._torch.bool,
        }
        # Not zeros: pages that no row has been written to take no memory yet.
        return {
            name: self._torch.empty(capacity, dtype=kind, device=self._device) for name, kind in kinds.items()
        }
