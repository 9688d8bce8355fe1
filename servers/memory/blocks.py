"""Blocks of vectors with their codes: the parts of the columns that never move from a reader's view.

It decides how rows are taken from a block; it does not know when one is full or where it should lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from servers.memory.codes import Codes
from servers.memory.mapped_arrays import Array, expect_single_rows, give_back, is_mapped

if TYPE_CHECKING:
    import torch

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Block:
    """The rows from `start` on: `array` float32 (block rows, d) in this machine's memory or in a file.

    `codes` are those of the same rows. One thread writes; one, perhaps another, moves a block that is full
    to a file. Any reads: what it finds is the same before and after.
    """

    __slots__ = ("_is_frugal", "_vectors", "array", "codes", "start")

    def __init__(self, start: int, array: Vectors, codes: Codes) -> None:
        import torch

        self.start = start
        self.array = array
        self.codes = codes
        self._vectors = torch.from_numpy(array)
        self._is_frugal = False

    @property
    def vectors(self) -> torch.Tensor:
        """The vectors as torch sees them, on the CPU."""
        return self._vectors

    @property
    def is_in_file(self) -> bool:
        """Whether the vectors lie in a file."""
        return is_mapped(self.array)

    @property
    def held_bytes(self) -> int:
        """What is in memory for vectors and codes, were every row of it written."""
        return self.codes.held_bytes + (0 if self.is_in_file else self.array.nbytes)

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors at these rows, counted from `start`."""
        array = self.array
        taken: Vectors = array[rows]
        if self._is_frugal:
            give_back(array)
        return taken

    def be_frugal(self) -> None:
        """Keep no pages of the file after a use, and read none that nobody asked for."""
        self._is_frugal = True
        if self.codes.held_bytes or self.codes.plain() is not None:
            expect_single_rows(self.array)

    def move(self, array: Vectors, plain: Array | None) -> None:
        """Take vectors and plain codes from these copies in files."""
        import torch

        self.codes.move(array, plain)
        self.array, self._vectors = array, torch.from_numpy(array)
        self.be_frugal()
