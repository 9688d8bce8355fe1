"""The first pass of a search: which rows could be among the best, certified by the codes' error bounds.

It decides who scans what, and what is left of all that was picked; it does not compute exact scores. Every
score s of the pass comes with a bound e such that the true score lies in s - e … s + e; see `picking`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.blocks import Block
from servers.memory.codes import CHUNK_ROWS, TILE_ROWS, Coding
from servers.memory.columns import View
from servers.memory.combining import Combining
from servers.memory.lone_threads import lone_threads
from servers.memory.picking import Ask, Pass, Picked, Picker, Piece

CHUNKS_PER_WANTED: Final = 4
"""With fewer chunks than this per wanted row, the best of each chunk would say too little."""
ROUNDING: Final = 1.001
"""Widens the measured remainders by more than the rounding error of measuring them, up to 8192 dimensions."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that may be among the wanted ones of their query, with the highest score that each may have.

    One entry per row and query; `owners` are the queries, ascending.
    """

    owners: Rows
    rows: Rows
    upper: npt.NDArray[np.float32]


class FirstPass:
    """Finds the candidates with one coding, on several threads that share the blocks; `close` ends them.

    The threads take the pieces of a pass one by one, so that one that is held up leaves its share to the
    others. Whoever asks while a pass goes on shares the next one, which brings the codes from memory once for
    all of them.
    """

    def __init__(
        self, torch: Any, coding: Coding, device: str = "cpu", *, piece_rows: int = TILE_ROWS
    ) -> None:
        self._torch = torch
        self._coding = coding
        self._piece_rows = piece_rows
        self._threads = torch.get_num_threads() if device == "cpu" else 0
        self._executor = lone_threads(torch, self._threads) if self._threads else None
        self._combining = Combining(self.candidates_of, self._executor) if self._executor else None

    def close(self) -> None:
        """End the threads; nothing may be asked afterwards."""
        if self._executor is not None:
            self._executor.shutdown()

    def candidates(self, view: View, ask: Ask) -> Candidates:
        """Return the candidates of every query, all rows of `view` considered; one at least must be shown."""
        if self._combining is None:
            return self.candidates_of([(view, ask)])[0]
        return self._combining.ask((view, ask)).result()

    def candidates_of(self, asked: Sequence[tuple[View, Ask]]) -> list[Candidates]:
        """Return those of several, the views being of the same memories at different times.

        Scans in the calling thread and with whichever of the others find the time.
        """
        passes = [self._prepared(view, ask) for view, ask in asked]
        pieces = deque(self._pieces(max((view for view, _ in asked), key=lambda view: view.rows)))
        helpers = []
        if self._executor is not None:
            count = min(len(pieces), self._threads) - 1
            helpers = [self._executor.submit(self._scan, passes, pieces) for _ in range(count)]
        found = [self._scan(passes, pieces)]
        # A helper that has not begun is not needed any more; waiting for it could be waiting for oneself.
        found += [helper.result() for helper in helpers if not helper.cancel()]
        return [
            self._settled(one, [picked for part in found for picked in part[place]])
            for place, one in enumerate(passes)
        ]

    def _settled(self, one: Pass, picked: Sequence[Picked]) -> Candidates:
        owners, rows, scores, errors = (
            self._torch.cat(some).cpu().numpy() for some in zip(*picked, strict=True)
        )
        order = owners.argsort(kind="stable")
        return _settled(owners[order], rows[order], scores[order], errors[order], one.ask.wanted)

    def _prepared(self, view: View, ask: Ask) -> Pass:
        queries = self._coding.encode(ask.units)
        slack = self._coding.slack(queries, ask.relevance, ask.bias_scale) + ask.drift
        parts = [block.codes.remainders for block in _blocks(view)]
        remainders = (parts[0] if len(parts) == 1 else self._torch.cat(parts))[: -(-view.rows // CHUNK_ROWS)]
        own = queries.errors[:, None]
        errors = ((1 + remainders) * own + remainders) * (ask.relevance * ROUNDING) + slack
        by_chunk = view.rows >= CHUNK_ROWS * CHUNKS_PER_WANTED * ask.wanted
        return Pass(view.rows, ask, queries, errors, by_chunk)

    def _pieces(self, view: View) -> list[Piece]:
        """All rows of the view, a tile at a time; a GPU takes a block at once."""
        size = len(view.blocks[0].vectors)
        step = min(size, self._piece_rows) if self._threads else size
        return [
            Piece(block, first, min(first + step, view.rows - block.start))
            for block in _blocks(view)
            for first in range(0, min(size, view.rows - block.start), step)
        ]

    def _scan(self, passes: Sequence[Pass], pieces: deque[Piece]) -> list[list[Picked]]:
        """Take pieces until none is left; returns what was picked for each pass."""
        pickers = [Picker(self._torch, one) for one in passes]
        while pieces:
            try:
                piece = pieces.popleft()
            except IndexError:  # another thread took the last one in between
                break
            for picker in pickers:
                picker.add(piece)
        return [picker.finish() for picker in pickers]


def _blocks(view: View) -> tuple[Block, ...]:
    """The blocks that hold rows of the view."""
    return view.blocks[: -(-view.rows // len(view.blocks[0].vectors))]


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
