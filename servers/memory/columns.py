"""Memories as columns that grow at the tail, the way a search reads them.

It decides how the columns lie in memory and when a row becomes visible; it does not know what is searched.
One thread writes; any number read, each through a `View` taken once. A view never changes its length, so a
reader is not disturbed by appends; only the marks of deleted rows change under it, one byte at a time.
Vectors, by far the largest part, lie in blocks that never move, so growing copies none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from servers.memory.blocks import Block
from servers.memory.codes import Coding
from servers.memory.float_codes import Float32Coding
from servers.memory.id_column import IdColumn
from servers.memory.index_budget import COLUMN_BYTES
from servers.memory.mapped_arrays import Array
from servers.memory.places import Places
from servers.memory.residency import Residency, Unlimited
from servers.memory.row_columns import RowColumns, Values
from servers.memory.store.base import Columns

if TYPE_CHECKING:
    import torch

FIRST_CAPACITY: Final = 1024
"""Rows for which room is made at first; it doubles whenever it is used up."""
BLOCK_ROWS: Final = 1 << 16
"""Rows of one block of vectors; their scores for a batch of queries still fit the processor's cache."""


@dataclass(frozen=True, slots=True)
class View:
    """The first `rows` rows: unit vectors in `blocks`, and beside them one value per row.

    On `device` lie the values: `namespaces` (int32) are codes, `significances` float64, times int64 in epoch
    ms, `alive` is False for deleted rows; `marked` changes whenever a row was marked. `ids` and the blocks
    may be longer than `rows`.
    """

    rows: int
    marked: int
    ids: IdColumn
    blocks: tuple[Block, ...]
    device: torch.device
    namespaces: Values
    significances: Values
    timestamps_ms: Values
    expires_at_ms: Values
    seqs: Values
    alive: Values

    @property
    def full_blocks(self) -> tuple[Block, ...]:
        """The blocks whose rows are all written."""
        return self.blocks[: self.rows // len(self.blocks[0].array)]

    @property
    def held_bytes(self) -> int:
        """What is in this machine's memory for all rows, what was only set aside not counted."""
        full = self.full_blocks
        held = self.ids.held_bytes + self.rows * COLUMN_BYTES + sum(block.held_bytes for block in full)
        growing = self.blocks[len(full) : len(full) + 1]
        return held + sum(
            block.held_bytes * (self.rows - block.start) // len(block.array) for block in growing
        )

    def vectors_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the vectors (len(rows), d) of these rows, in their order."""
        size, dimensions = self.blocks[0].array.shape
        owners = rows // size
        if len(rows) and (owners == owners[0]).all():
            return self.blocks[int(owners[0])].take(rows - owners[0] * size)
        found = np.empty((len(rows), dimensions), dtype=np.float32)
        for owner in np.unique(owners).tolist():
            here = owners == owner
            found[here] = self.blocks[owner].take(rows[here] - owner * size)
        return found


class TensorColumns:
    """Preallocated columns; append at the tail, mark as deleted, never move.

    What every row is scanned by lies on one torch device; vectors, of which a few are looked at, in this
    machine's memory or in files, as `residency` decides.
    """

    def __init__(
        self,
        dimensions: int,
        device: str = "cpu",
        capacity: int = FIRST_CAPACITY,
        *,
        coding: Coding | None = None,
        block_rows: int = BLOCK_ROWS,
        residency: Residency | None = None,
    ) -> None:
        # torch takes seconds to import: only a process that really searches pays for it.
        import torch

        self._torch = torch
        self.dimensions = dimensions
        self.coding: Coding = coding or Float32Coding(device)
        self.block_rows = block_rows
        self.residency: Residency = residency or Unlimited()
        self._ids = IdColumn()
        self._places = Places()
        self._blocks: tuple[Block, ...] = ()
        self._device = torch.device(device)
        self._values = RowColumns(torch, self._device, max(1, capacity))
        self._marked = 0
        self.reserve(1)
        self.view = self._view(0)

    @property
    def namespace_count(self) -> int:
        """How many namespaces have a number."""
        return self._values.namespace_count

    def rows_left(self) -> int | None:
        """Return how many more rows there may be, None: any."""
        return self.residency.rows_left(len(self._ids), self._ids.held_bytes)

    def code_of(self, namespace: str) -> int | None:
        """Return the number that stands for a namespace in `View.namespaces`, None if nothing is in it."""
        return self._values.code_of(namespace)

    def rows_of(self, seqs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of those of these seqs that have one, in the order of the seqs; repeats stay."""
        rows = self._places.find(seqs)
        return rows[rows >= 0]

    def reserve(self, rows: int) -> None:
        """Make room for `rows` more, so that the next `append` of so many cannot fail for want of memory."""
        needed = len(self._ids) + rows
        while (start := len(self._blocks) * self.block_rows) < needed:
            self.residency.grow(start + self.block_rows, self._ids.held_bytes)
            vectors = np.empty((self.block_rows, self.dimensions), dtype=np.float32)
            codes = self.coding.block(self._torch.from_numpy(vectors))
            self._blocks = (*self._blocks, Block(start, vectors, codes))
        self._reserve_columns(needed)

    def _reserve_columns(self, needed: int) -> None:
        if needed > self._values.capacity:
            self._values.grow(len(self._ids), needed)
            self._places.reserve(self._values.capacity)
            self.view = self._view(len(self._ids))

    def append(self, columns: Columns) -> None:
        """Add rows at the tail; readers see all of them at once, or none."""
        if columns.ids:
            self.reserve(len(columns.ids))
            self.view = self._view(self._write(columns))

    def adopt(self, columns: Columns, alive: npt.NDArray[np.bool_], parts: Mapping[str, Array]) -> None:
        """Add a full block as it is: unit vectors, which stay where they lie, and parts of codes.

        `alive` (n,) is False for rows that are not to be seen. All blocks so far must be full.
        """
        start, end = len(self._ids), len(self._ids) + len(columns.ids)
        if len(columns.ids) != self.block_rows or start % self.block_rows:
            raise ValueError("only a full block can follow full blocks")
        self.residency.grow(end, self._ids.held_bytes)
        block = Block(start, columns.vectors, self.coding.restored(columns.vectors, parts))
        self.residency.adopt(block)
        place = start // self.block_rows
        self._blocks = (*self._blocks[:place], block, *self._blocks[place + 1 :])
        self._reserve_columns(end)
        self._add(columns, start)
        self._values.mark(np.flatnonzero(~alive) + start, alive=False)
        self.view = self._view(end)

    def replace(self, columns: Columns) -> None:
        """Add rows in place of those of the same seqs: a reader sees all of the old ones or all new ones."""
        self.reserve(len(columns.ids))
        old = self.rows_of(columns.seqs)
        end = self._write(columns)
        # The marks are shared with the views that readers hold, so they are copied, not changed.
        self._values.mark_anew(old)
        self._marked += 1
        self.view = self._view(end)

    def mark(self, seqs: list[int], *, alive: bool) -> list[int]:
        """Mark rows as deleted or alive again; returns the seqs that have no row here."""
        rows = self._places.find(np.array(seqs, dtype=np.int64))
        known = rows[rows >= 0]
        if len(known):
            self._values.mark(known, alive=alive)
            self._marked += 1
            self.view = self._view(self.view.rows)
        return [seq for seq, row in zip(seqs, rows.tolist(), strict=True) if row < 0]

    def _write(self, columns: Columns) -> int:
        start, end = self.view.rows, self.view.rows + len(columns.ids)
        units = unit(columns.vectors)
        for block, first, last in self._parts(start, end):
            part = units[block.start + first - start : block.start + last - start]
            block.array[first:last] = part
            block.codes.write(first, self._torch.from_numpy(block.array[first:last]))
            if last == self.block_rows:
                self.residency.complete(block)
        self._add(columns, start)
        return end

    def _add(self, columns: Columns, start: int) -> None:
        """Everything of these rows but vectors and codes."""
        self._values.write(start, columns)
        self._ids.extend(columns.ids)
        self._places.add(columns.seqs, start)

    def _parts(self, start: int, end: int) -> Iterator[tuple[Block, int, int]]:
        """The blocks that hold the rows from `start` to `end`, each with the first and last of them in it."""
        for block in self._blocks[start // self.block_rows : -(-end // self.block_rows)]:
            yield block, max(0, start - block.start), min(self.block_rows, end - block.start)

    def _view(self, rows: int) -> View:
        values = self._values.first(rows)
        return View(rows, self._marked, self._ids, self._blocks, self._device, **values)


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the rows of a float32 array (n, d) at length 1, measured in float64; zero rows stay zero."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    lengths[lengths == 0.0] = 1.0
    wide /= lengths[:, None]
    return wide.astype(np.float32)
