"""Memories as columns of tensors that grow at the tail, the way a search reads them.

It decides how the columns lie in memory and when a row becomes visible; it does not know what is searched.
One thread writes; any number read, each through a `View` taken once. A view never changes its length, so a
reader is not disturbed by appends; only the marks of deleted rows change under it, one byte at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.store.base import Columns

if TYPE_CHECKING:
    import torch

FIRST_CAPACITY: Final = 1024
"""Rows for which room is made at first; it doubles whenever it is used up."""


@dataclass(frozen=True, slots=True)
class View:
    """The first `rows` rows: unit vectors float32 (rows, d), and beside them one value per row.

    `namespaces` (int32) are codes, `significances` float64, times int64 in epoch ms, `alive` is False for
    deleted rows. `ids` may be longer than `rows`.
    """

    rows: int
    ids: list[str]
    vectors: torch.Tensor
    namespaces: torch.Tensor
    significances: torch.Tensor
    timestamps_ms: torch.Tensor
    expires_at_ms: torch.Tensor
    seqs: torch.Tensor
    alive: torch.Tensor


class TensorColumns:
    """Preallocated columns on one torch device; append at the tail, mark as deleted, never move."""

    def __init__(self, dimensions: int, device: str = "cpu", capacity: int = FIRST_CAPACITY) -> None:
        # torch takes seconds to import: only a process that really searches pays for it.
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._dimensions = dimensions
        self._ids: list[str] = []
        self._rows: dict[int, int] = {}
        self._codes: dict[str, int] = {}
        self._tensors = self._allocate(max(1, capacity))
        self.view = self._view(0)

    def code_of(self, namespace: str) -> int | None:
        """Return the number that stands for a namespace in `View.namespaces`, None if nothing is in it."""
        return self._codes.get(namespace)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` more, so that the next `append` of so many cannot fail for want of memory."""
        needed = self.view.rows + rows
        capacity = len(self._tensors["seqs"])
        if needed <= capacity:
            return
        larger = self._allocate(max(needed, 2 * capacity))
        for name, tensor in self._tensors.items():
            larger[name][: self.view.rows] = tensor[: self.view.rows]
        self._tensors = larger
        self.view = self._view(self.view.rows)

    def append(self, columns: Columns) -> None:
        """Add rows at the tail; readers see all of them at once, or none."""
        added = len(columns.ids)
        if not added:
            return
        self.reserve(added)
        end = self._write(columns)
        self.view = self._view(end)

    def replace(self, columns: Columns) -> None:
        """Add rows in place of those of the same seqs: a reader sees all of the old ones or all new ones."""
        self.reserve(len(columns.ids))
        old = [self._rows[seq] for seq in columns.seqs.tolist() if seq in self._rows]
        end = self._write(columns)
        # The marks are shared with the views that readers hold, so they are copied, not changed.
        alive = self._tensors["alive"].clone()
        alive[self._torch.tensor(old, dtype=self._torch.int64, device=self._device)] = False
        self._tensors["alive"] = alive
        self.view = self._view(end)

    def _write(self, columns: Columns) -> int:
        start, end = self.view.rows, self.view.rows + len(columns.ids)
        for name, values in self._arrays(columns).items():
            self._tensors[name][start:end] = self._torch.from_numpy(values).to(self._device)
        self._ids += columns.ids
        self._rows.update(zip(columns.seqs.tolist(), range(start, end), strict=True))
        return end

    def mark(self, seqs: list[int], *, alive: bool) -> list[int]:
        """Mark rows as deleted or alive again; returns the seqs that have no row here."""
        known = [self._rows[seq] for seq in seqs if seq in self._rows]
        if known:
            self._tensors["alive"][self._torch.tensor(known, device=self._device)] = alive
        return [seq for seq in seqs if seq not in self._rows]

    def _arrays(self, columns: Columns) -> dict[str, npt.NDArray[Any]]:
        codes = [self._codes.setdefault(namespace, len(self._codes)) for namespace in columns.namespaces]
        return {
            "vectors": unit(columns.vectors),
            "namespaces": np.array(codes, dtype=np.int32),
            "significances": columns.significances,
            "timestamps_ms": columns.timestamps_ms,
            "expires_at_ms": columns.expires_at_ms,
            "seqs": columns.seqs,
            "alive": np.ones(len(codes), dtype=np.bool_),
        }

    def _allocate(self, capacity: int) -> dict[str, torch.Tensor]:
        kinds = {
            "namespaces": self._torch.int32,
            "significances": self._torch.float64,
            "timestamps_ms": self._torch.int64,
            "expires_at_ms": self._torch.int64,
            "seqs": self._torch.int64,
            "alive": self._torch.bool,
        }
        tensors = {
            name: self._torch.zeros(capacity, dtype=kind, device=self._device) for name, kind in kinds.items()
        }
        shape = (capacity, self._dimensions)
        tensors["vectors"] = self._torch.zeros(shape, dtype=self._torch.float32, device=self._device)
        return tensors

    def _view(self, rows: int) -> View:
        return View(rows, self._ids, **{name: tensor[:rows] for name, tensor in self._tensors.items()})


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the rows of a float32 array (n, d) at length 1, measured in float64; zero rows stay zero."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return (wide / np.where(lengths == 0.0, 1.0, lengths)).astype(np.float32)
