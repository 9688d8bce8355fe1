"""How much of an index fits into a given memory.

It decides how many rows there may be, how large their blocks are, and how many bytes of codes may be in
memory beside them; it does not hold any of it. Pure arithmetic. Of the budget an eighth is for the block that
grows and the one that is on its way to the disk, a sixteenth for pages of files that a search is looking at.
The rest is for what every row keeps in memory, and for loaded codes as far as it goes.
"""

from dataclasses import dataclass
from typing import Final

COLUMN_BYTES: Final = 37 + 8
"""Namespace, significance, times, seq, the mark of deleted rows; and the place of its seq."""
LENS_BYTES: Final = 40
"""Of the values that searches of several kinds keep for a row (`servers.memory.lens`), with room to grow."""
CODE_BYTES: Final = 8
"""Of a code's step and sum, which stay in memory wherever the code lies."""
ID_BYTES: Final = 36 + 8
"""Of an id that the server gave, and of where it ends; those of clients may be longer."""
ROW_BYTES: Final = COLUMN_BYTES + LENS_BYTES + CODE_BYTES + ID_BYTES
GROWING_SHARE: Final = 8
PASSING_SHARE: Final = 16
FEWEST_BLOCK_ROWS: Final = 1024
GROWING_BLOCKS: Final = 2
CODES_OF_GROWING: Final = 2
"""A block that grows has its codes twice: as they are written and as they are searched."""


@dataclass(frozen=True, slots=True)
class IndexBudget:
    """A memory of `total_bytes` for vectors of `dimensions`, a loaded code taking `code_bytes` a row.

    No block has more than `most_block_rows` rows.
    """

    total_bytes: int
    dimensions: int
    code_bytes: int
    most_block_rows: int

    @property
    def block_rows(self) -> int:
        """The rows of one block: a power of two, 1024 at least unless there may be no more than fewer."""
        rows = min(FEWEST_BLOCK_ROWS, self.most_block_rows)
        share = self.total_bytes // GROWING_SHARE
        while 2 * rows <= self.most_block_rows and self._growing(2 * rows) <= share:
            rows *= 2
        return rows

    @property
    def most_rows(self) -> int:
        """How many rows there may be, none of their codes loaded; below 0 if not even one block fits."""
        return self._for_rows() // ROW_BYTES

    def rows_left(self, rows: int, id_bytes: int) -> int:
        """Return how many more rows there may be beside so many, whose ids take `id_bytes` in all."""
        return max(0, self._for_rows() - self._kept(rows, id_bytes)) // ROW_BYTES

    def blocks_loaded(self, rows: int, id_bytes: int) -> int:
        """Return how many full blocks may have their codes in memory beside so many rows."""
        if not self.code_bytes:
            return 0
        return max(0, self._for_rows() - self._kept(rows, id_bytes)) // (self.code_bytes * self.block_rows)

    @staticmethod
    def least_bytes(rows: int, dimensions: int, code_bytes: int) -> int:
        """Return a budget into which so many rows fit, in whole MiB."""
        mib = 1 << 20
        growing = IndexBudget(0, dimensions, code_bytes, FEWEST_BLOCK_ROWS)._growing(FEWEST_BLOCK_ROWS)
        kept = rows * ROW_BYTES
        both = GROWING_SHARE * PASSING_SHARE
        shared = kept * both // (both - GROWING_SHARE - PASSING_SHARE)
        alone = (kept + growing) * PASSING_SHARE // (PASSING_SHARE - 1)
        return -(-max(shared, alone) // mib) * mib + mib

    def _growing(self, block_rows: int) -> int:
        row_bytes = 4 * self.dimensions + CODES_OF_GROWING * self.code_bytes
        return GROWING_BLOCKS * block_rows * row_bytes

    def _for_rows(self) -> int:
        growing = max(self._growing(self.block_rows), self.total_bytes // GROWING_SHARE)
        return self.total_bytes - growing - self.total_bytes // PASSING_SHARE

    @staticmethod
    def _kept(rows: int, id_bytes: int) -> int:
        return rows * (ROW_BYTES - ID_BYTES) + id_bytes
