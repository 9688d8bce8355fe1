"""What of the pieces of a first pass may be among the best: thresholds that certain rows reach for sure.

It decides what may be left out; it does not know who scans which piece. The k-th highest s - e over any set
of rows is a threshold that at least k rows reach for certain, so every row with s + e below it is out. To
find it without sorting all rows, only the best row of each chunk is looked at; that can only make it too low,
never too high. Where k is not small against the number of chunks, every row is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from servers.memory.blocks import Block
from servers.memory.codes import CHUNK_ROWS, Queries

if TYPE_CHECKING:
    import torch

HELD_SCORES: Final = 1 << 20
"""Scores that are picked from at once: 4 MiB stay in the processor's cache, and to pick takes as long as to
score some thousand rows."""

Picked = tuple["torch.Tensor", ...]
"""Query, row, score and error of every row that may be among the wanted ones."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Queries of length 1 (m, d) that share `relevance` and `bias` (float32, one per row, -inf: hidden).

    `wanted` rows are looked for, one at least; true biases may differ from `bias` by `drift`, and none but
    -inf is larger than `bias_scale`.
    """

    units: torch.Tensor
    relevance: float
    bias: torch.Tensor
    bias_scale: float
    drift: float
    wanted: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of a block from `first` to `last` (of the block), which lie in one tile on a CPU."""

    block: Block
    first: int
    last: int

    @property
    def start(self) -> int:
        """The row of the view where it begins."""
        return self.block.start + self.first


@dataclass(frozen=True, slots=True)
class Pass:
    """What is asked, the queries' codes, the error of every query and chunk of the rows that are asked of.

    With `by_chunk` there are enough chunks to look at the best of each only.
    """

    ask: Ask
    queries: Queries
    errors: torch.Tensor
    by_chunk: bool


class Picker:
    """Picks from the pieces that one thread adds; `finish` returns what it picked of all of them."""

    def __init__(self, torch: Any, asked: Pass) -> None:
        self._torch = torch
        self._pass = asked
        ask = asked.ask
        self._best = torch.full((len(ask.units), ask.wanted), -math.inf, device=ask.units.device)
        self._parts: list[torch.Tensor] = []
        self._chunks: list[torch.Tensor] = []
        self._held = 0
        self._picked: list[Picked] = []

    def add(self, piece: Piece) -> None:
        """Score the rows of the piece."""
        scores = self._scores(piece)
        first = piece.start // CHUNK_ROWS
        self._parts.append(scores)
        self._chunks.append(self._torch.arange(first, first + scores.shape[1], device=scores.device))
        self._held += scores.numel()
        if self._held >= HELD_SCORES:
            self._pick()

    def finish(self) -> list[Picked]:
        """Return what was picked; nothing may be added afterwards."""
        if self._parts:
            self._pick()
        return self._picked

    def _scores(self, piece: Piece) -> torch.Tensor:
        """The scores of a piece by chunks (m, chunks, CHUNK_ROWS), -inf where it has no row."""
        asked = self._pass
        bias = asked.ask.bias[piece.start : piece.block.start + piece.last]
        scores = piece.block.codes.scores(asked.queries, asked.ask.relevance, bias, piece.first)
        return scores.view(len(scores), -1, CHUNK_ROWS)

    def _pick(self) -> None:
        """Raise the threshold by what is held, and keep what of it reaches the threshold."""
        scores, chunks = self._joined()
        highest = scores.amax(dim=2)
        errors = self._pass.errors[:, chunks]
        lower = highest - errors if self._pass.by_chunk else (scores - errors[:, :, None]).flatten(1)
        wanted = self._best.shape[1]
        self._best = self._torch.cat([self._best, lower], dim=1).topk(wanted, dim=1, sorted=False).values
        least = self._best.amin(dim=1, keepdim=True)
        query, chunk = _reaching(highest, errors, least)
        inside, bound = scores[query, chunk], errors[query, chunk]
        hit, place = _reaching(inside, bound[:, None], least[query])
        rows = chunks[chunk[hit]] * CHUNK_ROWS + place
        self._picked.append((query[hit], rows, inside[hit, place], bound[hit]))

    def _joined(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All that is held as one, and held no longer."""
        parts, chunks = self._parts, self._chunks
        self._parts, self._chunks, self._held = [], [], 0
        if len(parts) == 1:
            return parts[0], chunks[0]
        return self._torch.cat(parts, dim=1), self._torch.cat(chunks)


def _reaching(
    scores: torch.Tensor, errors: torch.Tensor, least: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a score may be as high as `least`; hidden rows never are."""
    reach = (scores + errors >= least) & (scores > -math.inf)
    first, second = reach.nonzero(as_tuple=True)
    return first, second
