"""Exact search over all memories on a torch device: similarity, significance, recency, filters in one pass.

It decides which memories match and in which order; it does not know texts, disks or the wire. A fast pass
over short codes (`servers.memory.first_pass`) certifies which rows can be among the best; the scores of
those are then computed again in float64, so that results and ties are the same on every device and equal to
a plain sort (no approximate index is involved).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from servers.memory.codes import Coding, Mode
from servers.memory.coding_choice import choose_coding
from servers.memory.columns import BLOCK_ROWS, TensorColumns, View, unit
from servers.memory.first_pass import FirstPass
from servers.memory.index_state import IndexState
from servers.memory.lens import Kind, Lens, Lenses
from servers.memory.nearest import nearest_rows
from servers.memory.picking import Ask
from servers.memory.ranking import column, rank_by_columns, rank_by_relevance
from servers.memory.residency import Residency
from servers.memory.search import Found, Neighbour, Search
from servers.memory.store.base import Columns

if TYPE_CHECKING:
    import torch

BATCH: Final = 32
"""Queries that one pass serves; more make its scores outgrow the processor's cache."""
NEAREST_BATCH: Final = 128
"""The same for neighbours, of which a pass finds only one each."""
DEEPEST_SHARED: Final = 1024
"""Searches that want more rows than this get a pass of their own."""
SELECTIVE: Final = 16
"""Filters that let through less than one row in so many are searched by gathering those rows."""

Rows = npt.NDArray[np.int64]


class VectorIndex:
    """The searchable columns of a store, rebuilt at start and kept in step by the one thread that commits.

    `append`, `replace`, `remove`, `revive` and `reserve` are called by that thread; everything else by any.
    `mode` or `coding` force a coding instead of the best one for this machine; see `servers.memory.codes`.
    `residency` decides what of it lies in memory.
    """

    def __init__(
        self,
        dimensions: int,
        device: str = "cpu",
        *,
        mode: Mode | None = None,
        coding: Coding | None = None,
        block_rows: int = BLOCK_ROWS,
        residency: Residency | None = None,
    ) -> None:
        import torch  # seconds of import time, see TensorColumns

        coding = coding or choose_coding(device, dimensions, mode)
        self.mode: Mode = coding.mode
        self.columns = TensorColumns(
            dimensions, device, coding=coding, block_rows=block_rows, residency=residency
        )
        self._lenses = Lenses(torch, self.columns)
        self._first_pass = FirstPass(torch, coding, device)

    def close(self) -> None:
        """Let go of the threads; nothing may be called afterwards."""
        self._first_pass.close()
        self.columns.residency.close()

    def state(self) -> IndexState:
        """Return what the index searches by and what it holds in memory."""
        view = self.columns.view
        return IndexState(
            mode=self.mode,
            held_bytes=view.held_bytes + self._lenses.held_bytes,
            budget_bytes=self.columns.residency.budget_bytes,
            rows_left=self.columns.rows_left(),
            blocks=len(view.full_blocks),
            blocks_in_files=sum(block.is_in_file for block in view.full_blocks),
            blocks_loaded=sum(block.codes.is_loaded for block in view.full_blocks),
        )

    def reserve(self, rows: int) -> None:
        """Make room for `rows` more before their commit, so that what is committed can always be shown."""
        self.columns.reserve(rows)

    def append(self, columns: Columns) -> None:
        """Show these memories to every search that begins after this call."""
        self.columns.append(columns)

    def replace(self, columns: Columns) -> None:
        """Show these memories, in one step, instead of those with the same seqs."""
        self.columns.replace(columns)

    def remove(self, seqs: Sequence[int]) -> None:
        """Hide these memories from every search that begins after this call; unknown ones are already."""
        if seqs:
            self.columns.mark(list(seqs), alive=False)

    def revive(self, columns: Columns) -> None:
        """Show memories again that were removed, now or in an earlier run of the process."""
        missing = set(self.columns.mark(columns.seqs.tolist(), alive=True))
        self.columns.append(_chosen(columns, [row for row, seq in enumerate(columns.seqs) if seq in missing]))

    def counts(self, now_ms: int, threshold: float) -> tuple[int, int]:
        """Return how many memories are visible, and how many of them reach the significance `threshold`."""
        _, lens = self._lenses.look(Kind(None, threshold), now_ms)
        return lens.total + lens.hidden, lens.total

    def nearest(
        self, units: npt.NDArray[np.float32], namespaces: Sequence[str], now_ms: int
    ) -> list[Neighbour | None]:
        """Return, for every row of `units` (of length 1), the nearest visible memory of its namespace."""
        found: list[Neighbour | None] = [None] * len(units)
        for namespace in dict.fromkeys(namespaces):
            places = [place for place, name in enumerate(namespaces) if name == namespace]
            view, lens = self._lenses.look(Kind(namespace), now_ms)
            if not lens.total:
                continue
            for start in range(0, len(places), NEAREST_BATCH):
                part = places[start : start + NEAREST_BATCH]
                for place, (row, similarity) in zip(
                    part,
                    nearest_rows(view, self._first_pass, lens.bias[: view.rows], units[part]),
                    strict=True,
                ):
                    found[place] = Neighbour(similarity, view.ids[row])
        return found

    def search(self, search: Search) -> Found:
        """Return one page of the memories that match, in the order that `search.sort` says."""
        return self.search_many([search])[0]

    def search_many(self, searches: Sequence[Search]) -> list[Found]:
        """Return what `search` would for each; searches of one kind share the passes over the memories."""
        found: list[Found | None] = [None] * len(searches)
        shared: dict[tuple[object, ...], list[int]] = {}
        for place, search in enumerate(searches):
            deepest = search.offset + search.count
            if search.sort != "relevance" or search.allowed is not None or deepest > DEEPEST_SHARED:
                found[place] = self._search_alone(search)
            else:
                shared.setdefault((_kind(search), search.weights.relevance), []).append(place)
        for places in shared.values():
            for start in range(0, len(places), BATCH):
                part = places[start : start + BATCH]
                for place, one in zip(part, self._search_shared([searches[p] for p in part]), strict=True):
                    found[place] = one
        return [one for one in found if one is not None]

    def _search_shared(self, searches: Sequence[Search]) -> list[Found]:
        """The answers to searches by relevance of one kind, without filters, in one pass."""
        view, lens = self._lenses.look(_kind(searches[0]), max(search.now_ms for search in searches))
        if any(search.now_ms < lens.made_ms for search in searches):
            return [self._search_alone(search) for search in searches]
        if not lens.total:
            return [Found([], 0, lens.hidden) for _ in searches]
        wanted = [min(search.offset + search.count, lens.total) for search in searches]
        found = self._first_pass.candidates(view, _ask(view, lens, searches, max(wanted)))
        ranked = rank_by_relevance(view, searches, found.rows, found.owners, wanted)
        return [
            Found(hits[search.offset :], lens.total, lens.hidden)
            for search, hits in zip(searches, ranked, strict=True)
        ]

    def _search_alone(self, search: Search) -> Found:
        """The answer to any search."""
        view, lens = self._lenses.look(_kind(search), search.now_ms)
        total, hidden, bias = lens.total, lens.hidden, lens.bias[: view.rows]
        rows: Rows | None = None
        if search.allowed is not None:
            rows, hidden = self._allowed_rows(view, search)
            total = len(rows)
        wanted = min(search.offset + search.count, total)
        if wanted <= search.offset:
            return Found([], total, hidden)
        if search.sort != "relevance":
            rows = _numpy((bias > -math.inf).nonzero().squeeze(1)) if rows is None else rows
            hits = rank_by_columns(view, search, rows, wanted)
        else:
            if rows is None or total * SELECTIVE > view.rows:
                ask = _ask(view, lens, [search], wanted)
                ask = ask if rows is None else replace(ask, bias=_only(rows, bias))
                rows = self._first_pass.candidates(view, ask).rows
            (hits,) = rank_by_relevance(view, [search], rows, np.zeros_like(rows), [wanted])
        return Found(hits[search.offset :], total, hidden)

    def _allowed_rows(self, view: View, search: Search) -> tuple[Rows, int]:
        """The rows that match a search with a filter, and how many more its significance hides."""
        assert search.allowed is not None, "only a filter allows"
        rows = np.unique(self.columns.rows_of(search.allowed))
        rows = rows[rows < view.rows]
        code = self.columns.code_of(search.namespace)
        visible = column(view.alive, rows) & (column(view.expires_at_ms, rows) > search.now_ms)
        visible &= column(view.namespaces, rows) == (-1 if code is None else code)
        rows = rows[visible]
        matching = column(view.significances, rows) >= search.min_significance
        return rows[matching], int((~matching).sum())


def _only(rows: Rows, bias: torch.Tensor) -> torch.Tensor:
    """The bias at these rows, minus infinity elsewhere."""
    import torch

    masked = torch.full_like(bias, -math.inf)
    places = torch.from_numpy(rows).to(bias.device)
    masked[places] = bias[places]
    return masked


def _ask(view: View, lens: Lens, searches: Sequence[Search], wanted: int) -> Ask:
    import torch

    weights, device = searches[0].weights, view.device
    queries = np.stack([search.query for search in searches if search.query is not None])
    return Ask(
        units=torch.from_numpy(unit(queries)).to(device),
        relevance=weights.relevance,
        bias=lens.bias[: view.rows],
        bias_scale=weights.significance + weights.recency,
        drift=max(lens.drift(search.now_ms) for search in searches),
        wanted=wanted,
    )


def _kind(search: Search) -> Kind:
    if search.sort != "relevance":
        return Kind(search.namespace, search.min_significance)
    weights = search.weights
    half_life_ms = search.half_life_ms if weights.recency else 1.0
    return Kind(
        search.namespace, search.min_significance, weights.significance, weights.recency, half_life_ms
    )


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
