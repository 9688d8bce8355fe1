"""The reads that mean the same in every SQL database: pages, matches, selections.

It decides what they ask, once for all stores; marks, conditions and how a statement is run are the
database's.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from servers.memory.filters import Filter
from servers.memory.store import rows
from servers.memory.store.base import Memory, Page, PageQuery, Selected, Selection, StoreInfo

log = logging.getLogger(__name__)

Bound = tuple[str, list[Any]]
"""A condition in SQL and the values to bind to it, in order."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database says it: its table, the columns of a row, its mark for a bound value, its conditions."""

    table: str
    columns: str
    mark: str
    condition_of: Callable[[Filter], Bound]
    condition_of_selection: Callable[[Selection], Bound]
    condition_of_purge: Callable[[Sequence[str] | None, int], Bound]


class SqlReads(ABC):
    """The reading half of a `Store`, as far as it is the same everywhere; see `Store` for the promises."""

    dialect: ClassVar[Dialect]

    def __init__(self) -> None:
        self._damaged: set[int] = set()

    @abstractmethod
    def info(self) -> StoreInfo:
        """Return facts about the store."""

    @abstractmethod
    def _rows(self, statement: str, bound: Sequence[Any]) -> list[Any]:
        """Return all rows that a statement finds."""

    @abstractmethod
    def _read(self, raw: Any) -> rows.Row | None:
        """Return a row as it was written, None if it is damaged."""

    @abstractmethod
    def _place(self) -> str:
        """Return what the log calls the store."""

    def count(self) -> int:
        """Return how many memories are not deleted."""
        info = self.info()
        return info.rows - info.deleted_rows

    def page(self, query: PageQuery) -> Page:
        """Return one page, newest stored first, without damaged memories."""
        says = self.dialect
        condition, values = says.condition_of(query.wanted)
        is_deleted = "IS NOT NULL" if query.deleted else "IS NULL"
        repeats = " AND duplicate_of IS NOT NULL" if query.duplicates else ""
        before = 2**63 - 1 if query.before_seq is None else query.before_seq
        found = self._rows(
            f"SELECT {says.columns} FROM {says.table} WHERE namespace = {says.mark} AND seq < {says.mark} "
            f"AND deleted_at_ms {is_deleted}{repeats} "
            f"AND (expires_at_ms IS NULL OR expires_at_ms > {says.mark}) "
            f"AND {condition} ORDER BY seq DESC LIMIT {says.mark}",
            [query.namespace, before, query.now_ms, *values, query.limit + 1],
        )
        shown = found[: query.limit]
        next_before = int(shown[-1][rows.SEQ]) if len(found) > query.limit else None
        return Page(self._memories(shown), next_before)

    def matching(self, namespace: str, wanted: Filter) -> npt.NDArray[np.int64]:
        """Return the seqs, ascending, of the undeleted memories of a namespace that pass the filter."""
        says = self.dialect
        condition, values = says.condition_of(wanted)
        found = self._rows(
            f"SELECT seq FROM {says.table} WHERE namespace = {says.mark} AND deleted_at_ms IS NULL "
            f"AND {condition} ORDER BY seq",
            [namespace, *values],
        )
        return np.array([row[0] for row in found], dtype=np.int64)

    def select(self, selection: Selection, limit: int) -> Selected:
        """Return how many memories the selection holds, and the first `limit` of them by seq."""
        says = self.dialect
        condition, values = says.condition_of_selection(selection)
        ((total,),) = self._rows(f"SELECT count(*) FROM {says.table} WHERE {condition}", values)
        found = self._rows(
            f"SELECT {says.columns} FROM {says.table} WHERE {condition} ORDER BY seq LIMIT {says.mark}",
            [*values, limit],
        )
        return Selected(int(total), self._memories(found))

    def count_purgeable(self, ids: Sequence[str] | None, deleted_before_ms: int) -> int:
        """Return how many memories `Transaction.purge` would remove, however many that is."""
        condition, values = self.dialect.condition_of_purge(ids, deleted_before_ms)
        ((total,),) = self._rows(f"SELECT count(*) FROM {self.dialect.table} WHERE {condition}", values)
        return int(total)

    def _memories(self, found: Iterable[Any]) -> list[Memory]:
        return [rows.from_row(row) for row in self._intact(found)]

    def _intact(self, found: Iterable[Any]) -> list[rows.Row]:
        """The rows that are what was written; the others are counted and logged once each."""
        intact: list[rows.Row] = []
        for raw in found:
            row, seq = self._read(raw), int(raw[rows.SEQ])
            if row is not None:
                intact.append(row)
            elif seq not in self._damaged:
                self._damaged.add(seq)
                log.error("memory number %d of %s is damaged (checksum) and not served", seq, self._place())
        return intact
