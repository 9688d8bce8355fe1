"""What every row adds to its similarity in one kind of search: significance, recency, or minus infinity.

It decides which rows a kind of search sees and how they are counted; it does not know queries. The values
are kept between searches and extended by the rows that came since, because computing them for every row
costs as much as the search itself. They age: recency falls by at most ln 2 · Δt / half life, which is added
to the error that the first pass allows for, and everything is computed anew before that grows noticeable.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from servers.memory.columns import TensorColumns, View
from servers.memory.store.base import NEVER_MS

if TYPE_CHECKING:
    import torch

MOST_LENSES: Final = 8
"""Kinds of search whose values are kept at once, 4 bytes a row each."""
MOST_DRIFT: Final = 1e-3
"""How far recency may have fallen since a lens was made: a fraction of what 8-bit codes get wrong."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the searches that share a lens have in common; `namespace` None sees all of them."""

    namespace: str | None
    min_significance: float = 0.0
    significance: float = 0.0
    recency: float = 0.0
    half_life_ms: float = 1.0


@dataclass(frozen=True, slots=True)
class Lens:
    """The values of one kind of search as of `made_ms`, for the first `rows` rows of a view.

    `bias` (float32, at least `rows` long) is the weighted significance and recency, or -inf for rows that do
    not match. `total` rows match; `hidden` more would, but for their significance.
    """

    kind: Kind
    marked: int
    made_ms: int
    next_expiry_ms: int
    rows: int
    bias: torch.Tensor
    total: int = 0
    hidden: int = 0

    def drift(self, now_ms: int) -> float:
        """Bound how much any value is too high at `now_ms`: 2^(-age / half life) falls no faster."""
        return self.kind.recency * math.log(2) * (now_ms - self.made_ms) / self.kind.half_life_ms

    def holds(self, view: View, now_ms: int) -> bool:
        """Say whether the same rows are seen at `now_ms`, with values that are near enough."""
        is_same = self.marked == view.marked and self.made_ms <= now_ms < self.next_expiry_ms
        return is_same and self.drift(now_ms) <= MOST_DRIFT * self.kind.recency


class Lenses:
    """The lenses of the latest searches over `columns`; may be used from any thread."""

    def __init__(self, torch: Any, columns: TensorColumns) -> None:
        self._torch = torch
        self._columns = columns
        self._known: OrderedDict[Kind, Lens] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is in this machine's memory for them; on a GPU nothing is."""
        with self._lock:
            return sum(4 * len(lens.bias) for lens in self._known.values() if lens.bias.device.type == "cpu")

    def look(self, kind: Kind, now_ms: int) -> tuple[View, Lens]:
        """Return the newest view and the lens that covers exactly its rows."""
        with self._lock:
            view = self._columns.view
            lens = self._known.get(kind)
            if lens is not None and lens.marked == view.marked:
                lens = self._extended(lens, view)
            if lens is None or not lens.holds(view, now_ms):
                lens = self._extended(self._empty(kind, view, now_ms), view)
            self._known[kind] = lens
            self._known.move_to_end(kind)
            while len(self._known) > MOST_LENSES:
                self._known.popitem(last=False)
            return view, lens

    def _empty(self, kind: Kind, view: View, now_ms: int) -> Lens:
        bias = self._torch.empty(view.rows, dtype=self._torch.float32, device=view.device)
        return Lens(kind, view.marked, now_ms, NEVER_MS, 0, bias)

    def _extended(self, lens: Lens, view: View) -> Lens:
        if lens.rows == view.rows:
            return lens
        new = slice(lens.rows, view.rows)
        expires_at_ms = view.expires_at_ms[new]
        visible = view.alive[new] & (expires_at_ms > lens.made_ms)
        if lens.kind.namespace is not None:
            code = self._columns.code_of(lens.kind.namespace)
            visible &= view.namespaces[new] == (-1 if code is None else code)
        matching = visible & (view.significances[new] >= lens.kind.min_significance)
        total, seen = int(matching.sum()), int(visible.sum())
        bias = self._roomy(lens, view.rows)
        values = _plain(bias)[new]
        self._write_values(lens, view, new, values)
        if total < len(values):
            values[~matching] = -math.inf
        return Lens(
            lens.kind,
            lens.marked,
            lens.made_ms,
            min(lens.next_expiry_ms, int(expires_at_ms[visible].min())) if seen else lens.next_expiry_ms,
            view.rows,
            bias,
            lens.total + total,
            lens.hidden + seen - total,
        )

    def _roomy(self, lens: Lens, rows: int) -> torch.Tensor:
        """The bias of the lens with room for so many rows; rows beyond the lens's belong to nobody yet."""
        if rows <= len(lens.bias):
            return lens.bias
        larger = lens.bias.new_empty(max(rows, lens.rows + lens.rows // 4))
        larger[: lens.rows] = lens.bias[: lens.rows]
        return larger

    def _write_values(self, lens: Lens, view: View, new: slice, values: Any) -> None:
        """Write the weighted significance and recency of the new rows to `values` (float32)."""
        kind = lens.kind
        values[:] = view.significances[new] if kind.significance else 0.0
        if kind.significance:
            values *= kind.significance
        if kind.recency:
            ages = (lens.made_ms - view.timestamps_ms[new]).clip(0) * (-1.0 / kind.half_life_ms)
            values += (np.exp2(ages) if isinstance(ages, np.ndarray) else ages.exp2()) * kind.recency


def _plain(tensor: torch.Tensor) -> Any:
    """The values as numpy's where they lie in this machine's memory.

    Numpy and torch mean the same by everything that is done to them here, and most lenses are extended by a
    few rows, for which torch takes five times as long.
    """
    return tensor.numpy() if tensor.device.type == "cpu" else tensor
