"""Vectors as short codes for the first pass of a search, with a bound on what the codes get wrong.

It decides what every coding must offer: how a block of unit vectors is encoded, how queries meet the codes,
and how far such a score may be from the true one; it does not know filters, ranks or which rows are shown.
The bound turns the fast pass into a certificate: a row whose upper bound stays below the k-th best lower
bound cannot be among the first k. The codings are `int8_codes` and `float_codes`.

Derivation, for a row x = y + r (what its code stands for, and the remainder) and a query q = u + e likewise,
both of length 1: x·q = y·u + y·e + r·q, hence |x·q - y·u| <= (1 + |r|)·|e| + |r| by Cauchy and Schwarz. The
lengths |r| are measured when a row is written (the largest of each chunk is kept), |e| when a query comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from servers.memory.mapped_arrays import Array

if TYPE_CHECKING:
    import torch

CHUNK_ROWS: Final = 64
"""Rows that share one bound, and of which only the best score is looked at before the threshold is known."""
TILE_ROWS: Final = 1 << 14
"""Rows that are packed together once full: fewer take a lone query longer, more are packed late."""
UNIT_ROUNDOFF: Final = 2.0**-24
"""Of float32 (Higham, Accuracy and Stability of Numerical Algorithms, section 2.1)."""

Mode = Literal["int8", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries (m, d) of length 1 as the codes of one mode want them.

    `errors` (m,) is |e| of each, `largest` the largest component; `codes`, `packed` and `step` belong to the
    mode.
    """

    units: torch.Tensor
    codes: torch.Tensor
    errors: torch.Tensor
    step: float
    largest: float
    packed: torch.Tensor | None = None


class Codes(Protocol):
    """The codes of one block; written by one thread, read by any. Scores come from rows already written.

    They are in memory or in a file. What is in a file can be loaded, for scores that come faster, and
    unloaded; a reader notices neither.
    """

    remainders: torch.Tensor
    """The largest |r| of every chunk of the block, float32 (chunks,)."""

    @property
    def held_bytes(self) -> int:
        """What is in this machine's memory for them, besides the vectors."""

    @property
    def is_loaded(self) -> bool:
        """Whether scores come from memory as fast as they can."""

    def write(self, start: int, units: torch.Tensor) -> None:
        """Encode unit vectors float32 (n, d) as the rows from `start` on."""

    def plain(self) -> Array | None:
        """Return what `move` wants a copy of in a file (block rows, …), None if it has no use for any."""

    def move(self, vectors: Array, plain: Array | None) -> None:
        """Use from now on, once every row is written, these copies in files of the vectors and of `plain`."""

    def load(self) -> None:
        """Take into memory what makes scores come fastest; every row must be written."""

    def unload(self) -> None:
        """Let go of what can be found in a file."""

    def scores(self, queries: Queries, relevance: float, bias: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return `relevance` times every similarity, plus `bias` (n,), for n rows from the row `first` on.

        The result is (m, n rounded up to whole chunks), minus infinity beyond n. `first` is a multiple of
        CHUNK_ROWS; on a CPU the rows lie within one tile.
        """


class Coding(Protocol):
    """One way to encode, for blocks and queries alike."""

    @property
    def mode(self) -> Mode:
        """Its name."""

    def row_bytes(self, dimensions: int) -> int:
        """Return what one row of loaded codes takes of this machine's memory."""

    def block(self, vectors: torch.Tensor) -> Codes:
        """Return the codes for a block whose vectors (rows, d) will be written beside them."""

    def encode(self, units: torch.Tensor) -> Queries:
        """Return queries (m, d) of length 1, encoded."""

    def parts_of(self, units: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the codes of a full block of these vectors consist of, for `restored`."""

    def restored(self, vectors: Array, parts: Mapping[str, Array]) -> Codes:
        """Return the codes of a full block, not loaded, from its parts. Raises KeyError if one is missing."""

    def slack(self, queries: Queries, relevance: float, bias_scale: float) -> float:
        """Bound the rounding error of `Codes.scores`, for biases up to `bias_scale`."""


def padded(torch: Any, values: torch.Tensor) -> torch.Tensor:
    """Return the values with as many -inf behind them as make whole chunks."""
    missing = -values.shape[-1] % CHUNK_ROWS
    longer: torch.Tensor = torch.nn.functional.pad(values, (0, missing), value=-math.inf)
    return longer if missing else values
