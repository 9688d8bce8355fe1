"""The nearest memory to each of many vectors at once: what surprise and duplicates are judged by.

It decides how near ties are told apart; it does not know which rows may be seen. Its answer is exact unless
very many memories are almost equally near: then the nearest in float32 is taken, whose cosine is within
`servers.memory.ranking.rounding` of the highest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from servers.memory.columns import View
from servers.memory.first_pass import Candidates, FirstPass
from servers.memory.picking import Ask
from servers.memory.products import products
from servers.memory.ranking import cosines, rough_cosines, rounding

if TYPE_CHECKING:
    import torch

MOST_TESTED: Final = 64
"""Candidates whose exact similarity is computed to find the nearest of them."""
FEW_PAIRS: Final = 4096
"""So few pairs are compared by the vectors themselves: to prepare a pass over codes takes longer."""
INDISTINGUISHABLE: Final = 1e-6
"""What a neighbour may lack to a cosine of 1 and still count as nothing new, whatever else there is."""

Rows = npt.NDArray[np.int64]


def nearest_rows(
    view: View, first_pass: FirstPass, bias: torch.Tensor, units: npt.NDArray[np.float32]
) -> list[tuple[int, float]]:
    """Return the row nearest to each unit vector (m, d) and its cosine, among those whose bias is 0.

    The bias of all other rows is -inf; one row at least has the bias 0.
    """
    import torch

    if (
        view.rows * len(units) <= FEW_PAIRS
        and view.rows <= len(view.blocks[0].vectors)
        and bias.device.type == "cpu"
    ):
        return _best_of_few(view, bias.numpy(), units)
    directions = torch.from_numpy(units).to(bias.device)
    candidates = first_pass.candidates(view, Ask(directions, 1.0, bias, 0.0, 0.0, 1))
    tested, others = _likeliest(candidates)
    best = _best_of(view, tested.rows, tested.owners, units)
    unsure = [
        place for place, other in others.items() if best[place][1] < min(other, 1.0 - INDISTINGUISHABLE)
    ]
    if unsure:
        rows = _nearest_in_float32(view, directions[unsure], bias)
        found = _best_of(view, rows, np.arange(len(rows)), units[unsure])
        for place, other_best in zip(unsure, found, strict=True):
            best[place] = max(best[place], other_best, key=lambda pair: pair[1])
    return best


def _nearest_in_float32(view: View, directions: torch.Tensor, bias: torch.Tensor) -> Rows:
    """The row of the highest float32 similarity to each direction, where very many are almost alike."""
    import torch

    best = torch.full((len(directions),), -math.inf, device=bias.device)
    rows = torch.zeros(len(directions), dtype=torch.int64, device=bias.device)
    for block in view.blocks:
        here = bias[block.start : block.start + len(block.vectors)]
        if len(here):
            scores = torch.addmm(here, directions, block.vectors[: len(here)].to(here.device).T).max(dim=1)
            rows = torch.where(scores.values > best, scores.indices + block.start, rows)
            best = torch.maximum(best, scores.values)
    return rows.cpu().numpy()


def _likeliest(candidates: Candidates) -> tuple[Candidates, dict[int, float]]:
    """The rows worth testing for the nearest of each query, without most of those of crowded queries.

    Also returns, for the crowded ones, the highest similarity that a row left out may have.
    """
    counts = np.bincount(candidates.owners)
    keeps = np.ones(len(candidates.rows), dtype=np.bool_)
    others: dict[int, float] = {}
    for owner in np.flatnonzero(counts > MOST_TESTED).tolist():
        mine = np.flatnonzero(candidates.owners == owner)
        order = mine[np.argpartition(-candidates.upper[mine], MOST_TESTED)]
        keeps[order[MOST_TESTED:]] = False
        others[owner] = float(candidates.upper[order[MOST_TESTED]])
    if not others:
        return candidates, others
    return Candidates(candidates.owners[keeps], candidates.rows[keeps], candidates.upper[keeps]), others


def _best_of(view: View, rows: Rows, owners: Rows, units: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
    """The row of the highest cosine (the first of several) among those each unit owns, and the cosine."""
    rough = rough_cosines(view, rows, units, owners)
    highest = np.maximum.reduceat(rough, np.flatnonzero(np.diff(owners, prepend=-1)))
    near = rough >= highest[owners] - 2 * rounding(units.shape[1])
    rows, owners = rows[near], owners[near]
    return _exactly_best(view, rows, owners, units)


def _best_of_few(
    view: View, bias: npt.NDArray[np.float32], units: npt.NDArray[np.float32]
) -> list[tuple[int, float]]:
    """The same for so few rows that all of them are compared at once, by the vectors themselves."""
    rough = products(units, view.blocks[0].array[: view.rows])
    rough += bias
    first = rough.argmax(axis=1)
    highest = rough[np.arange(len(units)), first]
    owners, rows = np.nonzero(rough >= (highest - 2 * rounding(units.shape[1]))[:, None])
    is_crowded = np.bincount(owners, minlength=len(units)) > MOST_TESTED
    tested = ~is_crowded[owners] | (rows == first[owners])
    return _exactly_best(view, rows[tested], owners[tested], units)


def _exactly_best(
    view: View, rows: Rows, owners: Rows, units: npt.NDArray[np.float32]
) -> list[tuple[int, float]]:
    """The first of the rows with the highest cosine to the unit that owns them, and the cosine."""
    similarities = cosines(view.vectors_of(rows), units[owners])
    best: dict[int, tuple[int, float]] = {}
    for owner, row, similarity in zip(owners.tolist(), rows.tolist(), similarities.tolist(), strict=True):
        if owner not in best or similarity > best[owner][1]:
            best[owner] = (row, similarity)
    return [best[owner] for owner in range(len(units))]
