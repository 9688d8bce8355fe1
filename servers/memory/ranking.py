"""The exact order of rows: scores in float64, ties broken by significance, then newest, then id.

It decides which of the rows it is given come first; it does not know which rows match or how they were
found. Given a superset of the best rows, it returns what sorting everything would.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from servers.memory import scoring
from servers.memory.codes import UNIT_ROUNDOFF
from servers.memory.columns import View, unit
from servers.memory.row_columns import Values
from servers.memory.search import Hit, Search

PIECE_ROWS: Final = 512
"""Vectors gathered at once: with the queries beside them they stay in the processor's cache."""

TIE: Final = 1e-11
"""More than the rounding of anything in float64, relative to the weights."""

Rows = npt.NDArray[np.int64]


def rank_by_relevance(
    view: View, searches: Sequence[Search], rows: Rows, owners: Rows, wanted: Sequence[int]
) -> list[list[Hit]]:
    """Return, for each search (all have a query), the first `wanted` of its rows by score, in order.

    `owners` say, ascending, which search each of the rows belongs to.
    """
    scores, bounds = _scores(view, searches, rows, owners)
    ends = np.searchsorted(owners, np.arange(len(searches) + 1))
    ranked = []
    for number, (search, count) in enumerate(zip(searches, wanted, strict=True)):
        mine = slice(ends[number], ends[number + 1])
        some, upper = rows[mine], scores[mine]
        if len(some) > count:
            least = np.partition(upper, len(some) - count)[len(some) - count]
            some = some[upper >= least - 2 * bounds[number]]
        ranked.append(_ordered(view, search, some)[:count])
    return ranked


def rank_by_columns(view: View, search: Search, rows: Rows, wanted: int) -> list[Hit]:
    """Return the first `wanted` of the rows by significance and time, whichever `search.sort` puts first."""
    keys = [view.significances, view.timestamps_ms]
    chosen = _top_rows(view, keys if search.sort == "significance" else keys[::-1], rows, wanted)
    return _ordered(view, search, chosen)[:wanted]


def cosines(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the cosines (n,) of unit vectors (n, d) to a query (d,) of any length, or one each (n, d)."""
    wide = query.astype(np.float64)
    wide /= np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    # A sum per row, not a matrix product: its rounding does not depend on how many rows there are.
    found: npt.NDArray[np.float64] = np.clip((vectors.astype(np.float64) * wide).sum(axis=1), -1.0, 1.0)
    return found


def rough_cosines(
    view: View, rows: Rows, units: npt.NDArray[np.float32], owners: Rows
) -> npt.NDArray[np.float32]:
    """Return the cosine of each row to the unit vector that owns it, right up to `rounding`."""
    return np.concatenate(
        [
            np.einsum("ij,ij->i", view.vectors_of(rows[piece]), units[owners[piece]])
            for piece in _pieces(len(rows))
        ]
    )


def rounding(dimensions: int) -> float:
    """Bound how far a float32 product of unit vectors is off, in whatever order it is summed.

    Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    return (dimensions + 8) * UNIT_ROUNDOFF


def column(values: Values, rows: Rows) -> npt.NDArray[Any]:
    """Return the values of a column at these rows."""
    if isinstance(values, np.ndarray):
        return cast(npt.NDArray[Any], values[rows])
    import torch

    found: npt.NDArray[Any] = values[torch.from_numpy(rows).to(values.device)].cpu().numpy()
    return found


def _pieces(count: int) -> list[slice]:
    return [slice(start, start + PIECE_ROWS) for start in range(0, count, PIECE_ROWS)]


def _scores(
    view: View, searches: Sequence[Search], rows: Rows, owners: Rows
) -> tuple[npt.NDArray[np.float64], list[float]]:
    """The score of each row for the search that owns it, and how far it may be off, for each search."""
    queries = unit(np.stack([search.query for search in searches if search.query is not None]))
    similarities = rough_cosines(view, rows, queries, owners)
    ages = np.array([search.now_ms for search in searches])[owners] - column(view.timestamps_ms, rows)
    halves = np.array([search.half_life_ms for search in searches])[owners]
    weights = [search.weights for search in searches]
    relevance, significance, recency = (
        np.array([getattr(weight, name) for weight in weights])[owners]
        for name in ("relevance", "significance", "recency")
    )
    scores: npt.NDArray[np.float64] = relevance * similarities.astype(np.float64)
    scores += significance * column(view.significances, rows)
    scores += recency * np.exp2(-np.maximum(0, ages) / halves)
    return scores, [
        rounding(queries.shape[1]) * weight.relevance + TIE * (weight.significance + weight.recency)
        for weight in weights
    ]


def _top_rows(view: View, keys: Sequence[Values], rows: Rows, wanted: int) -> Rows:
    """The `wanted` first rows by the keys, each descending, then by id; in no particular order."""
    chosen: list[Rows] = []
    for key in keys:
        if wanted >= len(rows):
            break
        values = column(key, rows)
        least = np.partition(values, len(rows) - wanted)[len(rows) - wanted]
        above = rows[values > least]
        chosen.append(above)
        rows, wanted = rows[values == least], wanted - len(above)
    if wanted < len(rows):
        rows = np.array(heapq.nsmallest(wanted, rows.tolist(), key=view.ids.__getitem__), dtype=np.int64)
    return np.concatenate([*chosen, rows])


def _ordered(view: View, search: Search, rows: Rows) -> list[Hit]:
    """These rows as hits, in order."""
    similarities: list[float] | list[None] = [None] * len(rows)
    if search.query is not None:
        similarities = [
            one
            for piece in _pieces(len(rows))
            for one in cosines(view.vectors_of(rows[piece]), search.query).tolist()
        ]
    ranked = []
    for row, similarity, significance, timestamp, seq in zip(
        rows.tolist(),
        similarities,
        *(column(values, rows).tolist() for values in (view.significances, view.timestamps_ms, view.seqs)),
        strict=True,
    ):
        recency = scoring.recency(search.now_ms - timestamp, search.half_life_ms)
        if search.sort == "relevance":
            score = scoring.rank(similarity or 0.0, significance, recency, search.weights)
        else:
            score = significance if search.sort == "significance" else recency
        first = timestamp if search.sort == "recent" else score
        hit = Hit(seq, score, similarity, significance, recency)
        ranked.append(((-first, -significance, -timestamp, view.ids[row]), hit))
    ranked.sort(key=lambda pair: pair[0])
    return [hit for _, hit in ranked]
