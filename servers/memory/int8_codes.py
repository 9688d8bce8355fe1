"""Vectors as 8-bit integers with a step per row: a quarter of their bytes, and products without rounding.

It decides how rows become integers and which kernels multiply them; what the scores are good for is
`servers.memory.codes`'s to say. A row's code stands for y = c·s (integers c, step s).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.codes import CHUNK_ROWS, TILE_ROWS, UNIT_ROUNDOFF, Codes, Mode, Queries, padded
from servers.memory.mapped_arrays import Array, give_back

if TYPE_CHECKING:
    import torch

PIECE_VALUES: Final = 1 << 15
"""Values encoded at once: they stay in the processor's cache, and torch wakes no other threads for them."""
FEWEST_QUERIES: Final = 4
"""The packed kernel takes less time for so many queries than for fewer."""


class Int8Coding:
    """8-bit integers, a step per row; products of integers are exact, so only the remainders count.

    For processors that multiply bytes into 32-bit sums (`is_exact`). The kernels are those of oneDNN in
    torch: a packed block serves the products at the speed at which its bytes come from memory. With
    `keeps_plain` a block that is full can still be moved to a file.
    """

    mode: Final[Mode] = "int8"

    def __init__(self, *, keeps_plain: bool = False) -> None:
        import torch  # seconds of import time: only a process that searches pays for it

        self._torch = torch
        self._keeps_plain = keeps_plain

    def row_bytes(self, dimensions: int) -> int:
        """Return the bytes of one row of packed codes."""
        return dimensions

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return empty codes of a block."""
        return _Int8Codes(self._torch, *vectors.shape, keeps_plain=self._keeps_plain)

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the integers, steps, shifts and remainders of these vectors."""
        codes = _Int8Codes(self._torch, *units.shape, keeps_plain=True)
        codes.fill(0, units)
        return codes.parts()

    def restored(self, vectors: Array, parts: Mapping[str, Array]) -> Codes:
        """Return the codes of a full block."""
        return _Int8Codes(self._torch, *vectors.shape, parts=parts)

    def encode(self, units: torch.Tensor) -> Queries:
        """Return the queries as integers -127…127 with one step for all of them.

        For the packed kernel they are shifted by 128, and as many as it takes no less time for.
        """
        # In numpy, which takes a fifth of torch's time for a few queries.
        values = units.numpy()
        largest = float(np.abs(values).max())
        step = largest / 127 or 1.0
        codes = np.rint(values / np.float32(step))
        packed = np.zeros((max(len(codes), FEWEST_QUERIES), codes.shape[1]), dtype=np.uint8)
        packed[: len(codes)] = codes + 128
        torch = self._torch
        integers = torch.from_numpy(codes.astype(np.int8))
        codes *= np.float32(step)
        codes -= values
        errors = np.sqrt(np.einsum("ij,ij->i", codes, codes))
        return Queries(units, integers, torch.from_numpy(errors), step, largest, torch.from_numpy(packed))

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound eight roundings of terms that hold the shift by 128 of the packed kernel, at their largest.

        The shift adds 128·t·s·sum(c), in size at most 128·t·sqrt(d)·|c·s|, where 127·t is the largest
        component of the queries.
        """
        shifted = 4 * queries.largest * math.sqrt(queries.units.shape[1])
        return 16 * UNIT_ROUNDOFF * (relevance * (1 + shifted) + bias_scale)

    def is_exact(self, dimensions: int) -> bool:
        """Try the kernels on the largest products of vectors of so many dimensions.

        Some processors saturate the sums, some builds of torch lack the kernels, and `_int_mm` of torch
        2.13 answers with whatever was in the memory where there is one dimension.
        """
        torch = self._torch
        try:
            codes = _Int8Codes(torch, CHUNK_ROWS, dimensions, keeps_plain=False)
            signs = torch.tensor([1.0, -1.0]).repeat(CHUNK_ROWS // 2)[:, None]
            rows = signs * torch.ones(CHUNK_ROWS, dimensions)
            queries = self.encode(torch.ones(1, dimensions))
            codes.write(0, rows[:-1])
            raw = codes.scores(queries, 1.0, torch.zeros(CHUNK_ROWS - 1))
            codes.write(CHUNK_ROWS - 1, rows[-1:])
            packed = codes.scores(queries, 1.0, torch.zeros(CHUNK_ROWS))
        except (AttributeError, RuntimeError):
            return False
        expected = rows.sum(dim=1)[None]
        return bool(torch.allclose(raw[:, :-1], expected[:, :-1]) and torch.allclose(packed, expected))


class _Int8Codes:
    """One block in tiles of TILE_ROWS: plain integers while one grows, packed for the fast kernel once full.

    The plain integers go when the last tile is packed, unless they lie in a file (`parts`) or are to be moved
    to one.
    """

    def __init__(
        self,
        torch: Any,
        rows: int,
        dimensions: int,
        *,
        keeps_plain: bool = False,
        parts: Mapping[str, Array] | None = None,
    ) -> None:
        self._torch = torch
        self._tile = min(rows, TILE_ROWS)
        self._packed: list[torch.Tensor | None] = [None] * -(-rows // self._tile)
        self._packed_bytes = self._tile * dimensions
        self._keeps_plain = keeps_plain
        self._stored: Array | None = None
        if parts is None:
            parts = {
                "codes": np.empty((rows, dimensions), dtype=np.int8),
                "steps": np.zeros(rows, dtype=np.float32),
                "shifts": np.zeros(rows, dtype=np.float32),
                "remainders": np.zeros(-(-rows // CHUNK_ROWS), dtype=np.float32),
            }
        else:
            self._stored = parts["codes"]
        self._steps, self._shifts, self.remainders = (
            torch.from_numpy(parts[name]) for name in ("steps", "shifts", "remainders")
        )
        self._plain: Any = torch.from_numpy(parts["codes"])

    @property
    def held_bytes(self) -> int:
        """Packed tiles, plain integers that lie in no file, and two numbers a row."""
        held = sum(self._packed_bytes for tile in self._packed if tile is not None) + 8 * len(self._steps)
        return held + (self._plain.numel() if self._stored is None and self._plain is not None else 0)

    @property
    def is_loaded(self) -> bool:
        """Whether all tiles are packed."""
        return all(tile is not None for tile in self._packed)

    def parts(self) -> dict[str, torch.Tensor]:
        """What a block consists of that has kept its plain integers."""
        columns = {"steps": self._steps, "shifts": self._shifts, "remainders": self.remainders}
        return {"codes": self._plain, **columns}

    def plain(self) -> Array | None:
        """Return the plain integers."""
        array: npt.NDArray[np.int8] = self._plain.numpy()
        return array

    def move(self, vectors: Array, plain: Array | None) -> None:
        """Take the plain integers from a file; what is packed stays."""
        assert plain is not None, "asked for by `plain`"
        self._stored, self._plain = plain, self._torch.from_numpy(plain)

    def load(self) -> None:
        """Pack all tiles."""
        self._pack_tiles(len(self._steps))

    def unload(self) -> None:
        """Let go of the packed tiles of a block in a file."""
        if self._stored is not None:
            self._packed = [None] * len(self._packed)

    def _pack_tiles(self, written: int) -> None:
        """Pack the tiles that are full with so many rows of the block written."""
        for tile in range(len(self._packed)):
            end = min((tile + 1) * self._tile, len(self._steps))
            if self._packed[tile] is None and end <= written:
                plain = self._plain[tile * self._tile : end]
                self._packed[tile] = self._torch.ops.onednn.qlinear_prepack(plain, None)
        if self._stored is not None:
            give_back(self._stored)
        elif self._packed[-1] is not None and not self._keeps_plain:
            self._plain = None  # last: a reader that finds it gone finds the packed codes

    def write(self, start: int, units: torch.Tensor) -> None:
        """Encode these rows; the last row of a tile packs it."""
        self.fill(start, units)
        self._pack_tiles(start + len(units))

    def fill(self, start: int, units: torch.Tensor) -> None:
        """Encode these rows."""
        step = max(1, PIECE_VALUES // units.shape[1])
        for first in range(0, len(units), step):
            self._write_piece(start + first, units[first : first + step])

    def _write_piece(self, start: int, units: torch.Tensor) -> None:
        # In numpy, which takes a fifth of torch's time for a single row and the same for many.
        values = units.numpy()
        steps = np.abs(values).max(axis=1) / np.float32(127)
        steps[steps == 0] = 1.0
        codes = np.rint(values / steps[:, None])
        place = slice(start, start + len(units))
        self._plain.numpy()[place] = codes
        self._steps.numpy()[place] = steps
        self._shifts.numpy()[place] = codes.sum(axis=1) * steps * np.float32(128)
        codes *= steps[:, None]
        codes -= values
        remainders = np.sqrt(np.einsum("ij,ij->i", codes, codes))
        highest = self.remainders.numpy()
        for chunk in range(start // CHUNK_ROWS, -(-place.stop // CHUNK_ROWS)):
            first = max(0, chunk * CHUNK_ROWS - start)
            mine = remainders[first : (chunk + 1) * CHUNK_ROWS - start]
            highest[chunk] = max(highest[chunk], mine.max())

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the scores of len(bias) rows of one tile, the first of which is `first`."""
        scale = queries.step * relevance
        bias = padded(self._torch, bias)
        plain = self._plain  # before the packed codes, see `_pack_tiles`
        packed = self._packed[first // self._tile]
        if packed is not None:
            return self._packed_scores(packed, queries, scale, bias, first)
        # Rows beyond those written have the step 0 and the bias -inf, whatever their codes are.
        place = slice(first, first + len(bias))
        products = self._torch._int_mm(queries.codes, plain[place].T).to(self._torch.float32)
        found: torch.Tensor = products.mul_(self._steps[place] * scale).add_(bias)
        if self._stored is not None:
            give_back(self._stored)
        return found

    def _packed_scores(
        self, packed: torch.Tensor, queries: Queries, scale: float, bias: torch.Tensor, first: int
    ) -> torch.Tensor:
        if begun := first % self._tile:  # packed since it was looked at: with the rows before in its tile
            bias = self._torch.nn.functional.pad(bias, (begun, 0), value=-math.inf)
            return self._packed_scores(packed, queries, scale, bias, first - begun)[:, begun:]
        rows = len(bias)
        steps = self._steps[first : first + self._tile]
        bias = self._torch.sub(bias, self._shifts[first : first + rows], alpha=scale)
        if rows < len(steps):
            bias = self._torch.nn.functional.pad(bias, (0, len(steps) - rows))
        found: torch.Tensor = self._torch.ops.onednn.qlinear_pointwise(
            queries.packed, scale, 0, packed, steps, _no_shift(len(steps)), bias,
            1.0, 0, self._torch.float32, "none", [], "",
        )  # fmt: skip
        return found[: len(queries.codes), :rows]


@cache
def _no_shift(rows: int) -> torch.Tensor:
    """The zero points of so many rows, which all are 0."""
    import torch

    return torch.zeros(rows, dtype=torch.int32)
