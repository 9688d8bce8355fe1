"""The index filled from the store at start: from segments where they still say what the store says.

It decides what is taken from a segment, what is read from the store, and when segments are made; it does not
know their files. A segment is compared with the store first: by sums over the rows of its seqs, and where
those differ row by row. Rows that changed since are read from the store, as everything newer is.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from servers.memory.columns import TensorColumns, unit
from servers.memory.segments import Layout, Segment, SegmentFolder
from servers.memory.store.base import Columns, Store, columns_of
from servers.memory.store.marks import Marked

log = logging.getLogger(__name__)

ROWS_PER_STEP: Final = 4096
"""Memories read between two reports of progress."""
MOST_CHANGED: Final = 0.25
"""When more of a segment's rows were deleted or changed than this, it is made again, with all behind it."""


def fill(columns: TensorColumns, store: Store, on_rows: Callable[[int], None]) -> None:
    """Add every undeleted memory of the store to the empty columns; `on_rows` is told how many came."""
    if isinstance(store, Marked):
        _Filling(columns, store, on_rows).run()
    else:
        for step in store.scan(ROWS_PER_STEP):
            columns.append(step)
            on_rows(len(step.ids))
    columns.residency.settle()


class _Filling:
    """One start over a store whose rows can be compared with segments."""

    def __init__(self, columns: TensorColumns, store: Marked, on_rows: Callable[[int], None]) -> None:
        self._columns = columns
        self._store = store
        self._on_rows = on_rows
        layout = Layout(columns.coding.mode, columns.dimensions, columns.block_rows)
        self._segments = SegmentFolder(store.derived_folder, layout)
        self._changed: list[int] = []
        self._may_write = True

    def run(self) -> None:
        """Take the segments that still hold, then what is newer, then what changed."""
        covered = 0
        for segment in self._segments.read_all():
            if not self._take(segment):
                break
            covered = segment.last
        self._segments.drop_after(covered)
        for block in _blocks(self._store.scan(ROWS_PER_STEP, covered), self._columns.block_rows):
            covered = self._add(block, covered)
        self._add_changed()

    def _take(self, segment: Segment) -> bool:
        """Add a segment's rows as far as they are still what the store holds; False if too few are."""
        first = segment.after + 1
        alive = np.ones(len(segment.checksums), dtype=np.bool_)
        if self._store.row_sums(first, segment.last) != segment.sums:
            marks = self._store.row_marks(first, segment.last)
            alive = segment.survivors(marks)
            changed = np.setdiff1d(marks.seqs, segment.columns.seqs[alive])
            if max(len(changed), int((~alive).sum())) > MOST_CHANGED * len(alive):
                return False
            self._changed += changed.tolist()
        self._adopt(segment, alive)
        return True

    def _adopt(self, segment: Segment, alive: npt.NDArray[np.bool_]) -> None:
        self._columns.adopt(segment.columns, alive, segment.parts)
        self._on_rows(int(alive.sum()))

    def _add(self, block: Columns, covered: int) -> int:
        """Add rows read from the store, as a segment if they fill one; returns up to which seq that was."""
        last = int(block.seqs[-1])
        segment = self._made(block, covered, last) if self._may_write else None
        # Segments lie one behind the other, from the first seq on; behind what is none there can be none.
        self._may_write = segment is not None
        if segment is None:
            self._columns.append(block)
            self._on_rows(len(block.ids))
        else:
            self._adopt(segment, np.ones(len(block.ids), dtype=np.bool_))
        return last

    def _made(self, block: Columns, covered: int, last: int) -> Segment | None:
        """The rows as a segment that lies on the disk, None if they cannot be one."""
        if len(block.ids) != self._columns.block_rows:
            return None
        marks = self._store.row_marks(covered + 1, last)
        if len(marks.seqs) != len(block.seqs):  # one of them is damaged, and has to be found again
            return None
        units = _with_units(block)
        segment = Segment(
            after=covered,
            last=last,
            sums=self._store.row_sums(covered + 1, last),
            columns=units,
            checksums=marks.checksums,
            parts=self._encoded(units.vectors),
        )
        try:
            return self._segments.write(segment)
        except OSError as error:
            log.warning("the next start will take longer: %s", error)
            return None

    def _encoded(self, units: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.generic]]:
        import torch  # seconds of import time, see TensorColumns

        parts = self._columns.coding.parts_of(torch.from_numpy(units))
        return {name: part.numpy() for name, part in parts.items()}

    def _add_changed(self) -> None:
        for start in range(0, len(self._changed), ROWS_PER_STEP):
            found = self._store.fetch(self._changed[start : start + ROWS_PER_STEP])
            memories = [found[seq] for seq in sorted(found)]
            if memories:
                self._columns.append(columns_of(memories, self._columns.dimensions))
                self._on_rows(len(memories))


def _blocks(steps: Iterator[Columns], rows: int) -> Iterator[Columns]:
    """The same rows in steps of exactly `rows`; only the last may have fewer."""
    held: list[Columns] = []
    count = 0
    for step in steps:
        held.append(step)
        count += len(step.ids)
        while count >= rows:
            joined = _joined(held)
            yield _cut(joined, slice(0, rows))
            held, count = [_cut(joined, slice(rows, None))], count - rows
    if count:
        yield _joined(held)


def _joined(steps: Sequence[Columns]) -> Columns:
    return Columns(
        ids=[one for step in steps for one in step.ids],
        namespaces=[one for step in steps for one in step.namespaces],
        seqs=np.concatenate([step.seqs for step in steps]),
        timestamps_ms=np.concatenate([step.timestamps_ms for step in steps]),
        expires_at_ms=np.concatenate([step.expires_at_ms for step in steps]),
        significances=np.concatenate([step.significances for step in steps]),
        vectors=np.concatenate([step.vectors for step in steps]),
    )


def _cut(columns: Columns, part: slice) -> Columns:
    return Columns(
        ids=columns.ids[part],
        namespaces=columns.namespaces[part],
        seqs=columns.seqs[part],
        timestamps_ms=columns.timestamps_ms[part],
        expires_at_ms=columns.expires_at_ms[part],
        significances=columns.significances[part],
        vectors=columns.vectors[part],
    )


def _with_units(columns: Columns) -> Columns:
    """The same rows with unit vectors."""
    units = np.empty_like(columns.vectors)
    for start in range(0, len(units), ROWS_PER_STEP):
        units[start : start + ROWS_PER_STEP] = unit(columns.vectors[start : start + ROWS_PER_STEP])
    return replace(columns, vectors=units)
