"""The first pass of a search: which rows could be among the best, certified by the codes' error bounds.

It decides who scans what, and what is left of all that was picked; it does not compute exact scores. Every
score s of the pass comes with a bound e such that the true score lies in s - e … s + e; see `picking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.blocks import Block
from servers.memory.codes import CHUNK_ROWS, TILE_ROWS, Coding
from servers.memory.columns import View
from servers.memory.lone_threads import lone_threads
from servers.memory.picking import Ask, Pass, Picked, Picker, Piece
from servers.memory.shared_scan import SharedScan

if TYPE_CHECKING:
    import torch

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

    The threads take the pieces one by one, so that one that is held up leaves its share to the others.
    Whoever asks while a pass goes on joins it: codes that are brought from memory then serve both.
    """

    def __init__(
        self, torch: Any, coding: Coding, device: str = "cpu", *, piece_rows: int = TILE_ROWS
    ) -> None:
        self._torch = torch
        self._coding = coding
        self._piece_rows = piece_rows
        self._threads = torch.get_num_threads() if device == "cpu" else 0
        self._executor = lone_threads(torch, self._threads) if self._threads else None
        self._scan: SharedScan[Piece, list[Picked]] | None = None
        if self._executor is not None:
            self._scan = SharedScan(self._executor, self._threads)

    def close(self) -> None:
        """End the threads; nothing may be asked afterwards."""
        if self._executor is not None:
            self._executor.shutdown()

    def candidates(self, view: View, ask: Ask) -> Candidates:
        """Return the candidates of every query, all rows of `view` considered; one at least must be shown."""
        one, pieces = self._prepared(view, ask), self._pieces(view)
        if self._scan is not None:
            return self._settled(one, self._scan.ask(pieces, lambda: Picker(self._torch, one)).result())
        picker = Picker(self._torch, one)
        for piece in pieces:
            picker.add(piece)
        return self._settled(one, [picker.finish()])

    def _settled(self, one: Pass, found: Sequence[Sequence[Picked]]) -> Candidates:
        picked = [each for some in found for each in some]
        owners, rows, scores, errors = (
            self._torch.cat(some).cpu().numpy() for some in zip(*picked, strict=True)
        )
        order = owners.argsort(kind="stable")
        return _settled(owners[order], rows[order], scores[order], errors[order], one.ask.wanted)

    def _prepared(self, view: View, ask: Ask) -> Pass:
        queries = self._coding.encode(ask.units)
        slack = self._coding.slack(queries, ask.relevance, ask.bias_scale) + ask.drift
        remainders = self._torch.cat([block.codes.remainders for block in _blocks(view)])
        errors = self._errors(remainders[: -(-view.rows // CHUNK_ROWS)], queries.errors[:, None])
        by_chunk = view.rows >= CHUNK_ROWS * CHUNKS_PER_WANTED * ask.wanted
        return Pass(ask, queries, errors.mul_(ask.relevance * ROUNDING).add_(slack), by_chunk)

    def _errors(self, remainders: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """What the codes of rows and queries may be off together, (queries, chunks)."""
        found: torch.Tensor
        if self._scan is None:
            found = (1 + remainders) * own + remainders
        else:  # by numpy, as torch would wake its own threads in the one that asks
            plain = remainders.numpy()
            found = self._torch.from_numpy((1 + plain) * own.numpy() + plain)
        return found

    def _pieces(self, view: View) -> list[Piece]:
        """All rows of the view, a tile at a time; a GPU takes a block at once."""
        size = len(view.blocks[0].vectors)
        step = min(size, self._piece_rows) if self._threads else size
        return [
            Piece(block, first, min(first + step, view.rows - block.start))
            for block in _blocks(view)
            for first in range(0, min(size, view.rows - block.start), step)
        ]


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
