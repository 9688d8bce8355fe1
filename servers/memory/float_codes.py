"""Vectors as floating-point numbers of 16 or 32 bits, on any device.

It decides how they are rounded and which kernels multiply them; what the scores are good for is
`servers.memory.codes`'s to say. A code of 16 bits stands for what it is as a number, one of 32 bits for the
vector itself, so there only rounding stands between a score and the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from servers.memory.codes import CHUNK_ROWS, UNIT_ROUNDOFF, Codes, Mode, Queries, padded
from servers.memory.mapped_arrays import Array, give_back

if TYPE_CHECKING:
    import torch

HALF_ROUNDOFF: Final = 2.0**-11
"""Of float16; what lies below its normal range is off by less than HALF_SMALLEST."""
HALF_SMALLEST: Final = 2.0**-24
MOST_ALONE: Final = 4
"""So many queries are faster multiplied one by one than with halves that are widened for them."""
WIDENED_ROWS: Final = 1024
"""Rows widened at once: they stay in the processor's cache."""
TRIAL_ROWS: Final = 4 * CHUNK_ROWS
"""Rows of the trial by which float16 is taken or left."""


class Float16Coding:
    """Half precision: half of the vectors' bytes, and a seventh of the error of 8 bits.

    Products of two halves are exact in float32, where they are added (`is_sound` tries whether they are).
    On a CPU the result is a half again, on CUDA a float32; on CUDA the codes are the GPU's, the vectors stay
    in this machine's memory or on its disk.
    """

    mode: Final[Mode] = "float16"

    def __init__(self, device: str = "cpu") -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def row_bytes(self, dimensions: int) -> int:
        """Return the bytes of one row, none where they are a GPU's."""
        return 2 * dimensions if self._device.type == "cpu" else 0

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return empty codes of a block."""
        halves = self._torch.empty(vectors.shape, dtype=self._torch.float16, device=self._device)
        return _Float16Codes(self._torch, halves)

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the halves and remainders of these vectors."""
        codes = _Float16Codes(self._torch, self._torch.empty(units.shape, dtype=self._torch.float16))
        codes.write(0, units)
        return {"codes": codes.halves, "remainders": codes.remainders}

    def restored(self, vectors: Array, parts: Mapping[str, Array]) -> Codes:
        """Return the codes of a full block; on CUDA they are copied there."""
        remainders = self._torch.from_numpy(parts["remainders"])
        halves = self._torch.from_numpy(parts["codes"])
        if self._device.type == "cpu":
            return _Float16Codes(self._torch, halves, remainders, stored=parts["codes"])
        return _Float16Codes(self._torch, halves.to(self._device), remainders.to(self._device))

    def encode(self, units: torch.Tensor) -> Queries:
        """Return the queries as halves."""
        codes = units.to(self._torch.float16)
        return Queries(units, codes, (codes.float() - units).norm(dim=1), 1.0, 1.0)

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound the sums in float32 (Higham, section 3.1) and the rounding of a result that is a half."""
        dimensions = queries.units.shape[1]
        rounded = 0.0 if self._device.type == "cuda" else 1.01 * HALF_ROUNDOFF + HALF_SMALLEST
        return relevance * rounded + (dimensions + 8) * 1.01 * UNIT_ROUNDOFF * (relevance + bias_scale)

    def is_sound(self, dimensions: int) -> bool:
        """Try whether the kernels keep to their bound on vectors whose sums suffer most from short adders.

        Some builds add in half precision, some lack the kernels.
        """
        torch = self._torch
        rows, queries = (torch.from_numpy(_trying(dimensions, count)) for count in (TRIAL_ROWS, MOST_ALONE))
        try:
            codes = self.block(rows)
            codes.write(0, rows)
            encoded = self.encode(queries.to(self._device))
            bias = torch.zeros(TRIAL_ROWS, device=self._device)
            scores = codes.scores(encoded, 1.0, bias).cpu().double()
        except (AttributeError, RuntimeError, TypeError):
            return False
        meant = encoded.codes.cpu().double() @ rows.half().double().T
        return bool(((scores - meant).abs() <= self.slack(encoded, 1.0, 0.0)).all())


def _trying(dimensions: int, count: int) -> Array:
    """Unit vectors of equal components, of one large and many small ones, and of some that cancel out."""
    rng = np.random.default_rng(dimensions)
    vectors = np.abs(rng.normal(size=(count, dimensions))) + 0.5
    vectors[1::4] = 1.0
    vectors[2::4, 0] *= dimensions
    vectors[3::4] *= rng.choice([-1.0, 1.0], size=vectors[3::4].shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


class _Float16Codes:
    """One block of halves, on the device that multiplies them or, with `stored`, in a file."""

    def __init__(
        self,
        torch: Any,
        halves: torch.Tensor,
        remainders: torch.Tensor | None = None,
        *,
        stored: Array | None = None,
    ) -> None:
        self._torch = torch
        self._stored = stored
        self.halves = halves
        if remainders is None:
            remainders = torch.zeros(-(-len(halves) // CHUNK_ROWS), device=halves.device)
        self.remainders: torch.Tensor = remainders
        self.is_loaded = stored is None

    @property
    def held_bytes(self) -> int:
        """The halves, where they are in this machine's memory."""
        return 2 * self.halves.numel() if self.is_loaded and self.halves.device.type == "cpu" else 0

    def plain(self) -> Array | None:
        """Return the halves, unless a GPU has them."""
        return np.asarray(self.halves.numpy()) if self.halves.device.type == "cpu" else None

    def move(self, vectors: Array, plain: Array | None) -> None:
        """Know the halves in a file; those in memory stay until they are unloaded."""
        self._stored = plain

    def load(self) -> None:
        """Copy the halves from the file."""
        if not self.is_loaded and self._stored is not None:
            self.halves = self._torch.from_numpy(self._stored.copy())
            self.is_loaded = True
            give_back(self._stored)

    def unload(self) -> None:
        """Read the halves from the file."""
        if self.is_loaded and self._stored is not None:
            self.halves = self._torch.from_numpy(self._stored)
            self.is_loaded = False

    def write(self, start: int, units: torch.Tensor) -> None:
        """Encode these rows."""
        values = units.numpy()
        halves = values.astype(np.float16)
        place = slice(start, start + len(values))
        self.halves[place] = self._torch.from_numpy(halves).to(self.halves.device)
        lengths = np.linalg.norm(halves.astype(np.float32) - values, axis=1)
        first, last = start // CHUNK_ROWS, (place.stop - 1) // CHUNK_ROWS + 1
        remainders = np.zeros(last - first, dtype=np.float32)
        np.maximum.at(remainders, np.arange(start, place.stop) // CHUNK_ROWS - first, lengths)
        there = self.remainders[first:last]
        there.copy_(self._torch.maximum(there, self._torch.from_numpy(remainders).to(there.device)))

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the scores of len(bias) rows, the first of which is `first`."""
        products = self._products(queries.codes, self.halves[first : first + len(bias)])
        if not self.is_loaded and self._stored is not None:
            give_back(self._stored)
        return padded(self._torch, products.mul_(relevance).add_(bias))

    def _products(self, queries: torch.Tensor, halves: torch.Tensor) -> torch.Tensor:
        """The products (m, n) in float32."""
        found: torch.Tensor
        if halves.device.type != "cpu":
            found = self._torch.mm(queries, halves.T, out_dtype=self._torch.float32)
        elif len(queries) <= MOST_ALONE:
            # Torch has a fast kernel for one vector of halves, but on most processors none for several.
            found = self._torch.stack([self._torch.mv(halves, query) for query in queries]).float()
        else:
            wide = queries.float()
            starts = range(0, len(halves), WIDENED_ROWS)
            found = self._torch.cat(
                [wide @ halves[start : start + WIDENED_ROWS].float().T for start in starts], dim=1
            )
        return found


class Float32Coding:
    """No codes: the vectors themselves; only rounding stands between a score and the truth.

    With `is_frugal` the pages of vectors in a file are given back after each use.
    """

    mode: Final[Mode] = "float32"

    def __init__(self, device: str = "cpu", *, is_frugal: bool = False) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._is_frugal = is_frugal

    def row_bytes(self, dimensions: int) -> int:
        """Return 0: the vectors are not counted as codes."""
        return 0

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return a scorer of the block's own vectors, or of a GPU's copy of them."""
        if self._device.type == "cpu":
            return _Float32Codes(self._torch, vectors, self._is_frugal)
        return _Float32Copies(self._torch, self._torch.empty(vectors.shape, device=self._device), False)

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return nothing: the vectors are all there is."""
        return {}

    def restored(self, vectors: Array, parts: Mapping[str, Array]) -> Codes:
        """Return a scorer of the block's own vectors, or of a GPU's copy of them."""
        codes = self.block(self._torch.from_numpy(vectors))
        codes.write(0, self._torch.from_numpy(vectors))
        codes.move(vectors, None)
        return codes

    def encode(self, units: torch.Tensor) -> Queries:
        """Return the queries as they are."""
        return Queries(units, units, units.new_zeros(len(units)), 1.0, 1.0)

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound a float32 dot product of unit vectors and the sums around it (Higham, section 3.1)."""
        return (queries.units.shape[1] + 8) * UNIT_ROUNDOFF * (relevance + bias_scale)


class _Float32Codes:
    """The vectors of a block, wherever they lie."""

    held_bytes: Final = 0
    is_loaded: Final = True

    def __init__(self, torch: Any, vectors: torch.Tensor, is_frugal: bool) -> None:
        self._torch = torch
        self._vectors = vectors
        self._is_frugal = is_frugal
        self._stored: Array | None = None
        chunks = -(-len(vectors) // CHUNK_ROWS)
        self.remainders: torch.Tensor = torch.zeros(chunks, device=vectors.device)

    def write(self, start: int, units: torch.Tensor) -> None:
        """Nothing is encoded."""

    def plain(self) -> Array | None:
        """Return None: the vectors are enough."""
        return None

    def move(self, vectors: Array, plain: Array | None) -> None:
        """Read the vectors from their file."""
        self._vectors, self._stored = self._torch.from_numpy(vectors), vectors

    def load(self) -> None:
        """Nothing comes faster than the vectors."""

    def unload(self) -> None:
        """Nothing is held."""

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the scores of len(bias) rows, the first of which is `first`."""
        vectors = self._vectors
        found = self._torch.addmm(bias, queries.units, vectors[first : first + len(bias)].T, alpha=relevance)
        if self._is_frugal and self._stored is not None:
            give_back(self._stored)
        return padded(self._torch, found)


class _Float32Copies(_Float32Codes):
    """A GPU's copy of the vectors of a block."""

    def write(self, start: int, units: torch.Tensor) -> None:
        """Copy these rows."""
        self._vectors[start : start + len(units)] = units.to(self._vectors.device)

    def move(self, vectors: Array, plain: Array | None) -> None:
        """The copy stays."""
