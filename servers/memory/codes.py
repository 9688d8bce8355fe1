"""Vectors as short codes for the first pass of a search, with a bound on what the codes get wrong.

It decides how a block of unit vectors is encoded, how queries meet the codes, and how far such a score may
be from the true one; it does not know filters, ranks or which rows are shown. The bound turns the fast pass
into a certificate: a row whose upper bound stays below the k-th best lower bound cannot be among the first k.

Derivation, for a row x = c·s + r (integers c, step s, remainder r) and a query q = u·t + e, both of length 1:
x·q = s·t·(c·u) + (c·s)·e + r·q, hence |x·q - s·t·(c·u)| <= (1 + |r|)·|e| + |r| by Cauchy and Schwarz. The
lengths |r| are measured when a row is written (the largest of each chunk is kept), |e| when a query comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

CHUNK_ROWS: Final = 64
"""Rows that share one bound, and of which only the best score is looked at before the threshold is known."""
PIECE_VALUES: Final = 1 << 15
"""Values encoded at once: they stay in the processor's cache, and torch wakes no other threads for them."""
TILE_ROWS: Final = 1 << 14
"""Rows that are packed together once they are full; fewer take longer for a lone query, more are packed late."""
FEWEST_QUERIES: Final = 4
"""The packed kernel takes less time for so many queries than for fewer."""
UNIT_ROUNDOFF: Final = 2.0**-24
"""Of float32 (Higham, Accuracy and Stability of Numerical Algorithms, section 2.1)."""

Mode = Literal["int8", "float32"]


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries (m, d) of length 1 as the codes of one mode want them.

    `errors` (m,) is |e| of each, `largest` the largest component; `codes` and `step` belong to the mode.
    """

    units: torch.Tensor
    codes: torch.Tensor
    errors: torch.Tensor
    step: float
    largest: float


class Codes(Protocol):
    """The codes of one block; written by one thread, read by any. Scores come from rows already written."""

    remainders: torch.Tensor
    """The largest |r| of every chunk of the block, float32 (chunks,)."""

    def write(self, start: int, units: torch.Tensor) -> None:
        """Encode unit vectors float32 (n, d) as the rows from `start` on."""

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return `relevance` times every similarity, plus `bias` (n,), for n rows from the row `first` on.

        The result is (m, n rounded up to whole chunks), minus infinity beyond n. `first` is a multiple of
        TILE_ROWS; on a CPU the rows lie within one tile.
        """


class Coding(Protocol):
    """One way to encode, for blocks and queries alike."""

    @property
    def mode(self) -> Mode:
        """Its name."""

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return the codes for a block whose vectors (rows, d) will be written beside them."""

    def encode(self, units: torch.Tensor) -> Queries:
        """Return queries (m, d) of length 1, encoded."""

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the codes of a full block of these vectors consist of, for `restored`."""

    def restored(self, vectors: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> Codes:
        """Return the codes of a full block from their parts. Raises KeyError if one is missing."""

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound the rounding error of `Codes.scores`, for biases up to `bias_scale`."""


class Int8Coding:
    """8-bit integers, a step per row; products of integers are exact, so only the remainders count.

    For processors that multiply bytes into 32-bit sums (`is_exact`). The kernels are those of oneDNN in
    torch: a packed block serves the products at the speed at which its bytes come from memory.
    """

    mode: Final[Mode] = "int8"

    def __init__(self) -> None:
        import torch  # seconds of import time: only a process that searches pays for it

        self._torch = torch

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return empty codes of a block."""
        return _Int8Codes(self._torch, *vectors.shape)

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the integers, steps, shifts and remainders of these vectors."""
        codes = _Int8Codes(self._torch, *units.shape)
        codes.fill(0, units)
        return codes.parts()

    def restored(self, vectors: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> Codes:
        """Return the packed codes of a full block."""
        codes = _Int8Codes(self._torch, *vectors.shape, parts=parts)
        codes.pack()
        return codes

    def encode(self, units: torch.Tensor) -> Queries:
        """Return the queries as integers -127…127 with one step for all of them."""
        largest = float(units.abs().max())
        step = largest / 127 or 1.0
        codes = (units / step).round_()
        errors = (codes * step - units).norm(dim=1)
        return Queries(units, codes.to(self._torch.int8), errors, step, largest)

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
            codes = _Int8Codes(torch, CHUNK_ROWS, dimensions)
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
    """One block in tiles of TILE_ROWS: plain integers while one grows, packed for the fast kernel once full."""

    def __init__(
        self, torch: Any, rows: int, dimensions: int, *, parts: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self._torch = torch
        self._tile = min(rows, TILE_ROWS)
        self._packed: list[torch.Tensor | None] = [None] * -(-rows // self._tile)
        self._no_shift = torch.zeros(self._tile, dtype=torch.int32)
        if parts is None:
            parts = {
                "codes": torch.empty(rows, dimensions, dtype=torch.int8),
                "steps": torch.zeros(rows),
                "shifts": torch.zeros(rows),
                "remainders": torch.zeros(-(-rows // CHUNK_ROWS)),
            }
        self._steps, self._shifts = parts["steps"], parts["shifts"]
        self.remainders: torch.Tensor = parts["remainders"]
        self._plain: Any = parts["codes"]

    def parts(self) -> dict[str, torch.Tensor]:
        """What a block consists of that has not been packed."""
        columns = {"steps": self._steps, "shifts": self._shifts, "remainders": self.remainders}
        return {"codes": self._plain, **columns}

    def pack(self) -> None:
        """Change to the fast kernel's form; every row must be written."""
        self._pack_tiles(len(self._steps))

    def _pack_tiles(self, written: int) -> None:
        """Pack the tiles that are full with so many rows of the block written."""
        for tile in range(len(self._packed)):
            end = min((tile + 1) * self._tile, len(self._steps))
            if self._packed[tile] is None and end <= written:
                plain = self._plain[tile * self._tile : end]
                self._packed[tile] = self._torch.ops.onednn.qlinear_prepack(plain, None)
        if self._packed[-1] is not None:
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
        np.maximum.at(self.remainders.numpy(), np.arange(start, place.stop) // CHUNK_ROWS, remainders)

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the scores of len(bias) rows of one tile, the first of which is `first`."""
        scale = queries.step * relevance
        bias = _padded(self._torch, bias)
        place = slice(first, first + len(bias))
        plain = self._plain
        packed = self._packed[first // self._tile]
        if packed is None:
            # Rows beyond those written have the step 0 and the bias -inf, whatever their codes are.
            products = self._torch._int_mm(queries.codes, plain[place].T).to(self._torch.float32)
            plainly: torch.Tensor = products.mul_(self._steps[place] * scale).add_(bias)
            return plainly
        codes = queries.codes.to(self._torch.int16) + 128
        if len(codes) < FEWEST_QUERIES:
            codes = self._torch.nn.functional.pad(codes, (0, 0, 0, FEWEST_QUERIES - len(codes)))
        rows = len(bias)
        bias = self._torch.sub(bias, self._shifts[place], alpha=scale)
        steps = self._steps[first : first + self._tile]
        if rows < len(steps):
            bias = self._torch.nn.functional.pad(bias, (0, len(steps) - rows))
        found: torch.Tensor = self._torch.ops.onednn.qlinear_pointwise(
            codes.to(self._torch.uint8), scale, 0, packed, steps, self._no_shift[: len(steps)], bias,
            1.0, 0, self._torch.float32, "none", [], "",
        )  # fmt: skip
        return found[: len(queries.codes), :rows]


class Float32Coding:
    """No codes: the vectors themselves, on any device; only rounding stands between a score and the truth."""

    mode: Final[Mode] = "float32"

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return a scorer of the block's own vectors."""
        return _Float32Codes(self._torch, vectors)

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return nothing: the vectors are all there is."""
        return {}

    def restored(self, vectors: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> Codes:
        """Return a scorer of the block's own vectors."""
        return self.block(vectors)

    def encode(self, units: torch.Tensor) -> Queries:
        """Return the queries as they are."""
        return Queries(units, units, units.new_zeros(len(units)), 1.0, 1.0)

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound a float32 dot product of unit vectors and the sums around it (Higham, section 3.1)."""
        return (queries.units.shape[1] + 8) * UNIT_ROUNDOFF * (relevance + bias_scale)


class _Float32Codes:
    def __init__(self, torch: Any, vectors: torch.Tensor) -> None:
        self._torch = torch
        self._vectors = vectors
        chunks = -(-len(vectors) // CHUNK_ROWS)
        self.remainders: torch.Tensor = torch.zeros(chunks, device=vectors.device)

    def write(self, start: int, units: torch.Tensor) -> None:
        """Nothing is encoded."""

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the scores of len(bias) rows, the first of which is `first`."""
        vectors = self._vectors[first : first + len(bias)]
        found = self._torch.addmm(bias, queries.units, vectors.T, alpha=relevance)
        return _padded(self._torch, found)


def _padded(torch: Any, values: torch.Tensor) -> torch.Tensor:
    """The values with as many -inf behind them as make whole chunks."""
    missing = -values.shape[-1] % CHUNK_ROWS
    padded: torch.Tensor = torch.nn.functional.pad(values, (0, missing), value=-math.inf)
    return padded if missing else values


def choose_coding(device: str, dimensions: int, wanted: Mode | None = None) -> Coding:
    """Return the fastest coding that is right on this machine; `wanted` asks for one and is not checked."""
    if wanted == "float32" or (wanted is None and device != "cpu"):
        return Float32Coding()
    int8 = Int8Coding()
    return int8 if wanted == "int8" or int8.is_exact(dimensions) else Float32Coding()
