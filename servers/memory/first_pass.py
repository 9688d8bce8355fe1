"""The first pass of a search: which rows could be among the best, certified by the codes' error bounds.

It decides what may be left out; it does not compute exact scores. Every score s of the pass comes with a
bound e such that the true score lies in s - e … s + e. The k-th highest s - e over any set of rows is a
threshold that at least k rows reach for certain, so every row with s + e below it is out. To find it without
sorting all rows, only the best row of each chunk is looked at; that can only make it too low, never too
high. Where k is not small against the number of chunks, every row is looked at.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.blocks import Block
from servers.memory.codes import CHUNK_ROWS, TILE_ROWS, Coding, Queries
from servers.memory.columns import View

if TYPE_CHECKING:
    import torch

CHUNKS_PER_WANTED: Final = 4
"""With fewer chunks than this per wanted row, the best of each chunk would say too little."""
ROUNDING: Final = 1.001
"""Widens the measured remainders by more than the rounding error of measuring them, up to 8192 dimensions."""
HELD_SCORES: Final = 1 << 20
"""Scores of one span, unless one piece has more: 4 MiB stay in the processor's cache."""
SPANS_PER_THREAD: Final = 4
"""A thread that is held up leaves its share to the others, in pieces of this size."""
FEWEST_ROWS: Final = TILE_ROWS
"""Rows that are worth a span of their own: what is picked from each costs as much as some thousand rows."""

Rows = npt.NDArray[np.int64]


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
class Candidates:
    """Rows that may be among the wanted ones of their query, with the highest score that each may have.

    One entry per row and query; `owners` are the queries, ascending.
    """

    owners: Rows
    rows: Rows
    upper: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of a block from `first` to `last` (of the block), which lie in one tile on a CPU."""

    block: Block
    first: int
    last: int

    @property
    def start(self) -> int:
        """The row of the view where it begins."""
        return self.block.start + self.first


_Span = tuple[_Piece, ...]


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass: what is asked, the queries' codes, the error bound of every query and chunk."""

    ask: Ask
    queries: Queries
    errors: torch.Tensor
    by_chunk: bool


class FirstPass:
    """Finds the candidates with one coding, on several threads that share the blocks; `close` ends them.

    The threads split a pass once, by spans of blocks. Inside an operation of torch, by contrast, its threads
    wait for the slowest one at every step, and spin: where other work wants the cores, that costs most.
    """

    def __init__(
        self, torch: Any, coding: Coding, device: str = "cpu", *, fewest_rows: int = FEWEST_ROWS
    ) -> None:
        self._torch = torch
        self._coding = coding
        self._fewest_rows = fewest_rows
        self._threads = torch.get_num_threads() if device == "cpu" else 0
        self._executor = _lone_threads(torch, self._threads) if self._threads else None

    def close(self) -> None:
        """End the threads; nothing may be asked afterwards."""
        if self._executor is not None:
            self._executor.shutdown()

    def candidates(self, view: View, ask: Ask) -> Candidates:
        """Return the candidates of every query, all rows of `view` considered; one at least must be shown."""
        if self._executor is None:
            return self._lead(view, ask)
        return self._executor.submit(self._lead, view, ask).result()

    def _lead(self, view: View, ask: Ask) -> Candidates:
        """Scan with whichever of the other threads find the time."""
        work = self._prepared(view, ask)
        spans = deque(self._spans(view, len(ask.units)))
        helpers = []
        if self._executor is not None:
            count = min(len(spans), self._threads) - 1
            helpers = [self._executor.submit(self._scan, work, spans) for _ in range(count)]
        found = self._scan(work, spans)
        # A helper that has not begun is not needed any more; waiting for it could be waiting for oneself.
        found += [part for helper in helpers if not helper.cancel() for part in helper.result()]
        owners, rows, scores, errors = (
            self._torch.cat(some).cpu().numpy() for some in zip(*found, strict=True)
        )
        order = owners.argsort(kind="stable")
        return _settled(owners[order], rows[order], scores[order], errors[order], ask.wanted)

    def _prepared(self, view: View, ask: Ask) -> _Pass:
        queries = self._coding.encode(ask.units)
        slack = self._coding.slack(queries, ask.relevance, ask.bias_scale) + ask.drift
        parts = [block.codes.remainders for block in _blocks(view)]
        remainders = (parts[0] if len(parts) == 1 else self._torch.cat(parts))[: -(-view.rows // CHUNK_ROWS)]
        own = queries.errors[:, None]
        errors = ((1 + remainders) * own + remainders) * (ask.relevance * ROUNDING) + slack
        by_chunk = view.rows >= CHUNK_ROWS * CHUNKS_PER_WANTED * ask.wanted
        return _Pass(ask, queries, errors, by_chunk)

    def _spans(self, view: View, queries: int) -> list[_Span]:
        """The pieces in spans of a fair size, so that the threads end at about the same time."""
        fair = max(self._fewest_rows, view.rows // (SPANS_PER_THREAD * max(1, self._threads)))
        fair = min(HELD_SCORES // queries, fair)
        spans: list[list[_Piece]] = []
        room = 0
        for piece in self._pieces(view):
            rows = piece.last - piece.first
            if not spans or rows > room:
                spans.append([])
                room = fair
            spans[-1].append(piece)
            room -= rows
        return [tuple(span) for span in spans]

    def _pieces(self, view: View) -> list[_Piece]:
        """All rows of the view, a tile at a time; a GPU takes a block at once."""
        size = len(view.blocks[0].vectors)
        step = min(size, TILE_ROWS) if self._threads else size
        return [
            _Piece(block, first, min(first + step, view.rows - block.start))
            for block in _blocks(view)
            for first in range(0, min(size, view.rows - block.start), step)
        ]

    def _scan(self, work: _Pass, spans: deque[_Span]) -> list[tuple[torch.Tensor, ...]]:
        """Take spans until none is left; what is found of each: query, row, score and error, one by one."""
        ask = work.ask
        best = self._torch.full((len(ask.units), ask.wanted), -math.inf, device=ask.units.device)
        found = []
        while spans:
            try:
                span = spans.popleft()
            except IndexError:  # another thread took the last one in between
                break
            best, picked = self._scan_span(work, span, best)
            found.append(picked)
        return found

    def _scan_span(
        self, work: _Pass, span: _Span, best: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The highest lower bounds so far, and what of this span reaches them."""
        parts = [self._scores(work, piece) for piece in span]
        scores = self._torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        highest = scores.amax(dim=2)
        first = span[0].start // CHUNK_ROWS
        errors = work.errors[:, first : first + highest.shape[1]]
        lower = highest - errors if work.by_chunk else (scores - errors[:, :, None]).flatten(1)
        best = self._torch.cat([best, lower], dim=1).topk(best.shape[1], dim=1, sorted=False).values
        least = best.amin(dim=1, keepdim=True)
        query, chunk = _reaching(highest, errors, least)
        inside, bound = scores[query, chunk], errors[query, chunk]
        hit, place = _reaching(inside, bound[:, None], least[query])
        rows = chunk[hit] * CHUNK_ROWS + place + span[0].start
        return best, (query[hit], rows, inside[hit, place], bound[hit])

    def _scores(self, work: _Pass, piece: _Piece) -> torch.Tensor:
        """The scores of a piece by chunks (m, chunks, CHUNK_ROWS), -inf where it has no row."""
        ask = work.ask
        bias = ask.bias[piece.start : piece.block.start + piece.last]
        scores = piece.block.codes.scores(work.queries, ask.relevance, bias, piece.first)
        return scores.view(len(scores), -1, CHUNK_ROWS)


def _blocks(view: View) -> tuple[Block, ...]:
    """The blocks that hold rows of the view."""
    return view.blocks[: -(-view.rows // len(view.blocks[0].vectors))]


def _reaching(
    scores: torch.Tensor, errors: torch.Tensor, least: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a score may be as high as `least`; hidden rows never are."""
    reach = (scores + errors >= least) & (scores > -math.inf)
    first, second = reach.nonzero(as_tuple=True)
    return first, second


def _settled(
    owners: Rows,
    rows: Rows,
    scores: npt.NDArray[np.float32],
    errors: npt.NDArray[np.float32],
    wanted: int,
) -> Candidates:
    """What is left with the threshold of all rows; early spans were picked from with a lower one."""
    upper, lower = scores + errors, scores - errors
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    if wanted == 1:
        least = np.maximum.reduceat(lower, starts)
    else:
        least = np.array(
            [
                np.partition(mine, len(mine) - wanted)[len(mine) - wanted] if len(mine) > wanted else -np.inf
                for mine in np.split(lower, starts[1:])
            ]
        )
    stays = upper >= np.repeat(least, np.diff(starts, append=len(owners)))
    return Candidates(owners[stays], rows[stays], upper[stays])


def _lone_threads(torch: Any, count: int) -> ThreadPoolExecutor:
    """So many threads in each of which an operation of torch runs alone."""
    around = torch.get_num_threads()
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        begun.wait()

    executor = ThreadPoolExecutor(count, thread_name_prefix="memory-scan", initializer=begin)
    for _ in range(count):
        executor.submit(int)
    begun.wait()
    # What was set last holds for threads made later, those of others included.
    torch.set_num_threads(around)
    return executor
