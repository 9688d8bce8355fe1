"""What of an index is in memory and what in files: everything without a budget, what fits with one.

It decides when a full block moves to a file and whose codes are loaded; how much fits is
`servers.memory.index_budget`'s to say. Vectors in files are read row by row, codes that are not loaded are
read through once a search: slower, and as exact.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from servers.memory.blocks import Block
from servers.memory.index_budget import IndexBudget
from servers.memory.mapped_arrays import moved_to_disk, return_free_memory

log = logging.getLogger(__name__)


class Residency(Protocol):
    """Where full blocks lie. Called by the one thread that writes the columns."""

    @property
    def budget_bytes(self) -> int | None:
        """The memory that the index is to keep to, None: any."""

    def rows_left(self, rows: int, id_bytes: int) -> int | None:
        """Return how many more rows there may be beside so many with ids of so many bytes; None: any."""

    def grow(self, rows: int, id_bytes: int) -> None:
        """Know that there are, or will be next, so many rows with ids of so many bytes."""

    def adopt(self, block: Block) -> None:
        """Take a full block that came whole, perhaps from files."""

    def complete(self, block: Block) -> None:
        """Take a block whose last row has just been written."""

    def settle(self) -> None:
        """Return once every full block lies where it is to lie."""

    def close(self) -> None:
        """Let go of threads; nothing may be called afterwards."""


class Unlimited:
    """Everything in memory, but vectors that came from a file."""

    budget_bytes: Final = None

    def rows_left(self, rows: int, id_bytes: int) -> int | None:
        """Return None."""
        return None

    def grow(self, rows: int, id_bytes: int) -> None:
        """Nothing depends on it."""

    def adopt(self, block: Block) -> None:
        """Load its codes."""
        block.codes.load()

    def complete(self, block: Block) -> None:
        """Leave it where it is."""

    def settle(self) -> None:
        """All do."""

    def close(self) -> None:
        """There is no thread."""


class Budgeted:
    """Full blocks in files of `folder`, and the codes of as many of them in memory as `budget` allows.

    Where the folder takes no files, the blocks stay in memory: the log says so, and the budget is exceeded.
    """

    def __init__(self, budget: IndexBudget, folder: Path) -> None:
        self.budget = budget
        self._folder = folder
        self._lock = threading.Lock()
        self._in_files: list[Block] = []
        self._in_memory: list[Block] = []
        self._may_load = 0
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="memory-blocks")
        self._moving: Future[None] | None = None
        self._has_failed = False

    @property
    def budget_bytes(self) -> int | None:
        """The whole budget."""
        return self.budget.total_bytes

    def rows_left(self, rows: int, id_bytes: int) -> int | None:
        """Return what the budget leaves."""
        return self.budget.rows_left(rows, id_bytes)

    def grow(self, rows: int, id_bytes: int) -> None:
        """Unload codes that no longer fit beside the rows."""
        with self._lock:
            self._may_load = self.budget.blocks_loaded(rows, id_bytes)
            self._fit()

    def adopt(self, block: Block) -> None:
        """Load its codes if they fit; move it to a file if it is in none."""
        if not block.is_in_file:
            self.complete(block)
            return
        with self._lock:
            block.be_frugal()
            self._in_files.append(block)
            self._fit()
        return_free_memory()  # of what the block was made from

    def complete(self, block: Block) -> None:
        """Have it moved to a file; wait while another one is on its way, since both are in memory."""
        if self._moving is not None:
            self._moving.result()
        self._in_memory.append(block)
        self._moving = self._mover.submit(self._move_all)

    def settle(self) -> None:
        """Return once every full block lies where it is to lie, and nothing else is held."""
        if self._moving is not None:
            self._moving.result()
        return_free_memory()

    def close(self) -> None:
        """Finish what is on its way."""
        self._mover.shutdown()

    def _move_all(self) -> None:
        """Move what is in memory, also what found no room on the disk before."""
        while self._in_memory:
            block = self._in_memory[0]
            try:
                self._move(block)
            except OSError as error:
                if not self._has_failed:
                    log.warning(
                        "the index exceeds its memory (option index_memory): full blocks stay in memory, "
                        "since they cannot be written to %s: %s",
                        self._folder,
                        error,
                    )
                self._has_failed = True
                return
            self._has_failed = False
            del self._in_memory[0]

    def _move(self, block: Block) -> None:
        plain = block.codes.plain()
        vectors = moved_to_disk(block.array, self._folder)
        block.move(vectors, None if plain is None else moved_to_disk(plain, self._folder))
        with self._lock:
            self._in_files.append(block)
            self._fit()
        return_free_memory()

    def _fit(self) -> None:
        """Load the codes of the newest blocks, as many as fit: those are already, or were just written."""
        first = max(0, len(self._in_files) - self._may_load)
        for place, block in enumerate(self._in_files):
            if place < first:
                block.codes.unload()
            elif not block.codes.is_loaded:
                block.codes.load()
