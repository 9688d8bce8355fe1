"""Exact search over all memories on a torch device: similarity, significance, recency, filters in one pass.

It decides which memories match and in which order; it does not know texts, disks or the wire. The scan in
float32 only picks candidates, with a margin wider than its rounding error; their scores are then computed
again in float64, so that results and ties are the same on every device and equal to a plain sort (no
approximate index is involved).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory import scoring
from servers.memory.columns import TensorColumns, View, unit
from servers.memory.scoring import RankWeights
from servers.memory.search import Found, Hit, Neighbour, Search
from servers.memory.store.base import Columns

if TYPE_CHECKING:
    import torch

NEAREST_CELLS: Final = 1 << 24
"""Most similarities held at once while neighbours are looked for (64 MiB of float32)."""

Rows = npt.NDArray[np.int64]


class VectorIndex:
    """The searchable columns of a store, rebuilt at start and kept in step by the one thread that commits.

    `append`, `remove`, `revive` and `reserve` are called by that thread; everything else by any.
    """

    def __init__(self, dimensions: int, device: str = "cpu") -> None:
        import torch  # seconds of import time, see TensorColumns

        self._torch = torch
        self._columns = TensorColumns(dimensions, device)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` more before their commit, so that what is committed can always be shown."""
        self._columns.reserve(rows)

    def append(self, columns: Columns) -> None:
        """Show these memories to every search that begins after this call."""
        self._columns.append(columns)

    def replace(self, columns: Columns) -> None:
        """Show these memories, in one step, instead of those with the same seqs."""
        self._columns.replace(columns)

    def remove(self, seqs: Sequence[int]) -> None:
        """Hide these memories from every search that begins after this call; unknown ones are already."""
        self._columns.mark(list(seqs), alive=False)

    def revive(self, columns: Columns) -> None:
        """Show memories again that were removed, now or in an earlier run of the process."""
        missing = set(self._columns.mark(columns.seqs.tolist(), alive=True))
        self._columns.append(
            _chosen(columns, [row for row, seq in enumerate(columns.seqs) if seq in missing])
        )

    def counts(self, now_ms: int, threshold: float) -> tuple[int, int]:
        """Return how many memories are visible, and how many of them reach the significance `threshold`."""
        view = self._columns.view
        visible = view.alive & (view.expires_at_ms > now_ms)
        return int(visible.sum()), int((visible & (view.significances >= threshold)).sum())

    def nearest(
        self, vectors: npt.NDArray[np.float32], namespaces: Sequence[str], now_ms: int
    ) -> list[Neighbour | None]:
        """Return, for every row of `vectors`, the nearest visible memory of its namespace (None: none is)."""
        view = self._columns.view
        found: list[Neighbour | None] = [None] * len(vectors)
        units = unit(vectors)
        step = max(1, NEAREST_CELLS // max(1, view.rows))
        for namespace in dict.fromkeys(namespaces):
            places = [place for place, name in enumerate(namespaces) if name == namespace]
            for start in range(0, len(places), step):
                part = places[start : start + step]
                neighbours = self._nearest_of(view, units[part], namespace, now_ms)
                for place, neighbour in zip(part, neighbours, strict=True):
                    found[place] = neighbour
        return found

    def search(self, search: Search) -> Found:
        """Return one page of the memories that match, in the order that `search.sort` says."""
        view = self._columns.view
        visible = self._visible(view, search)
        matches = visible & (view.significances >= search.min_significance)
        total = int(matches.sum())
        wanted = min(search.offset + search.count, total)
        hidden = int(visible.sum()) - total
        if wanted <= search.offset:
            return Found([], total, hidden)
        if search.sort == "relevance" and search.query is not None:
            rows = self._relevant_rows(view, search, search.query, matches, wanted)
        else:
            keys = [view.significances, view.timestamps_ms]
            rows = self._top_rows(
                view, keys if search.sort == "significance" else keys[::-1], matches, wanted
            )
        return Found(self._ranked(view, search, rows)[search.offset : wanted], total, hidden)

    def _visible(self, view: View, search: Search) -> torch.Tensor:
        visible = view.alive & (view.expires_at_ms > search.now_ms) & self._is_in(view, search.namespace)
        if search.allowed is not None:
            allowed = self._torch.from_numpy(search.allowed).to(view.seqs.device)
            visible = visible & self._torch.isin(view.seqs, allowed)
        return visible

    def _relevant_rows(
        self, view: View, search: Search, query: npt.NDArray[np.float32], matches: torch.Tensor, wanted: int
    ) -> Rows:
        weights = search.weights
        direction = self._torch.from_numpy(unit(query[None])[0]).to(view.vectors.device)
        ages = (search.now_ms - view.timestamps_ms).clamp_(min=0).to(self._torch.float32)
        bias = ages.mul_(-1.0 / search.half_life_ms).exp2_().mul_(weights.recency)
        bias.add_(view.significances.to(self._torch.float32), alpha=weights.significance)
        scores = self._torch.addmv(bias, view.vectors, direction, alpha=weights.relevance)
        scores.masked_fill_(~matches, -self._torch.inf)
        least = self._torch.topk(scores, wanted, sorted=False).values.min()
        enough = (scores >= least - _margin(view.vectors.shape[1], weights)) & matches
        return _numpy(enough.nonzero().squeeze(1))

    def _top_rows(self, view: View, keys: Sequence[torch.Tensor], among: torch.Tensor, wanted: int) -> Rows:
        """The `wanted` first rows by the keys, each descending, then by id; in no particular order."""
        rows = among.nonzero().squeeze(1)
        chosen: list[Rows] = []
        for key in keys:
            if wanted >= len(rows):
                break
            values = key[rows]
            least = self._torch.topk(values, wanted, sorted=False).values.min()
            above = rows[values > least]
            chosen.append(_numpy(above))
            rows, wanted = rows[values == least], wanted - len(above)
        tied = _numpy(rows)
        if wanted < len(tied):
            tied = np.array(heapq.nsmallest(wanted, tied.tolist(), key=view.ids.__getitem__), dtype=np.int64)
        return np.concatenate([*chosen, tied])

    def _ranked(self, view: View, search: Search, rows: Rows) -> list[Hit]:
        where = self._torch.from_numpy(rows).to(view.seqs.device)
        significances, timestamps, seqs = (
            _numpy(column[where]).tolist() for column in (view.significances, view.timestamps_ms, view.seqs)
        )
        similarities: list[float] | list[None] = [None] * len(rows)
        if search.query is not None:
            similarities = _cosines(_numpy(view.vectors[where]), search.query)
        ranked: list[tuple[tuple[float, float, float, str], Hit]] = []
        for row, seq, significance, timestamp, similarity in zip(
            rows.tolist(), seqs, significances, timestamps, similarities, strict=True
        ):
            recency = scoring.recency(search.now_ms - timestamp, search.half_life_ms)
            if search.sort == "relevance":
                score = scoring.rank(similarity or 0.0, significance, recency, search.weights)
                first = -score
            else:
                score = significance if search.sort == "significance" else recency
                first = -significance if search.sort == "significance" else -timestamp
            hit = Hit(seq, score, similarity, significance, recency)
            ranked.append(((first, -significance, -timestamp, view.ids[row]), hit))
        ranked.sort(key=lambda pair: pair[0])
        return [hit for _, hit in ranked]

    def _nearest_of(
        self, view: View, units: npt.NDArray[np.float32], namespace: str, now_ms: int
    ) -> list[Neighbour | None]:
        if not view.rows:
            return [None] * len(units)
        visible = view.alive & (view.expires_at_ms > now_ms) & self._is_in(view, namespace)
        bias = self._torch.zeros(view.rows, dtype=self._torch.float32, device=view.vectors.device)
        bias.masked_fill_(~visible, -self._torch.inf)
        directions = self._torch.from_numpy(units).to(view.vectors.device)
        best = self._torch.addmm(bias, directions, view.vectors.T).max(dim=1)
        rows = _numpy(best.indices)
        candidates = _numpy(view.vectors[best.indices])
        found: list[Neighbour | None] = []
        for row, similarity, candidate, direction in zip(
            rows.tolist(), _numpy(best.values).tolist(), candidates, units, strict=True
        ):
            if similarity == -np.inf:
                found.append(None)
                continue
            (exact,) = _cosines(candidate[None], direction)
            found.append(Neighbour(exact, view.ids[row]))
        return found

    def _is_in(self, view: View, namespace: str) -> torch.Tensor:
        code = self._columns.code_of(namespace)
        return view.namespaces == (-1 if code is None else code)


def _margin(dimensions: int, weights: RankWeights) -> float:
    # Twice the worst rounding error of a float32 dot product of unit vectors and of the sums around it
    # (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    scale = weights.relevance + weights.significance + weights.recency
    return 2.0 * (dimensions + 8) * 2.0**-24 * scale


def _cosines(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> list[float]:
    """The cosines of unit vectors (n, d) to a query of any length, in float64."""
    wide = query.astype(np.float64)
    wide /= np.sqrt((wide * wide).sum())
    # A sum per row, not a matrix product: its rounding does not depend on how many rows there are.
    products: list[float] = np.clip((vectors.astype(np.float64) * wide).sum(axis=1), -1.0, 1.0).tolist()
    return products


def _numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _chosen(columns: Columns, rows: Sequence[int]) -> Columns:
    return Columns(
        ids=[columns.ids[row] for row in rows],
        namespaces=[columns.namespaces[row] for row in rows],
        seqs=columns.seqs[list(rows)],
        timestamps_ms=columns.timestamps_ms[list(rows)],
        expires_at_ms=columns.expires_at_ms[list(rows)],
        significances=columns.significances[list(rows)],
        vectors=columns.vectors[list(rows)],
    )
