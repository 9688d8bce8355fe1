"""What a store of memories must do, whatever keeps the bytes (design.md section 2).

It defines the records and the `Store` protocol with their promises; it does not know SQL, threads, vectors'
meaning or the wire. One conformance suite holds every implementation to these promises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from servers.errors import RequestError, StoreUnusable
from servers.memory.filters import EVERYTHING, Filter

T = TypeVar("T")

Vector = npt.NDArray[np.float32]
"""One embedding: float32, shape (dimensions,), C-contiguous."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory as it is kept: everything that was acknowledged about it.

    `seq` is its place in the order of storing, given by the store and never reused (0: not stored yet).
    Times are epoch milliseconds; significance and surprise lie in 0…1; `vector` is kept bit for bit.
    `deletion` names the change that deleted many at once, so that all of them can be brought back together.
    """

    id: str
    namespace: str
    text: str
    timestamp_ms: int
    significance: float
    surprise: float
    type: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    vector: Vector = field(compare=False)
    duplicate_of: str | None = None
    expires_at_ms: int | None = None
    deleted_at_ms: int | None = None
    deletion: str | None = None
    seq: int = 0

    def placed(self, seq: int) -> "Memory":
        """Return it with its place in the order of storing; half the time of `dataclasses.replace`."""
        return Memory(*_ALL_BUT_SEQ(self), seq)  # type: ignore[call-arg]  # mypy cannot count them


_ALL_BUT_SEQ: Final = attrgetter(*(one.name for one in fields(Memory) if one.name != "seq"))


@dataclass(frozen=True, slots=True)
class Columns:
    """What searching needs of n memories, column by column: row i of each belongs to the same memory.

    `ids` and `namespaces` have n entries; `seqs`, `timestamps_ms` and `expires_at_ms` are int64 of shape
    (n,), with `NEVER_MS` for no expiry; `significances` is float64 (n,); `vectors` is float32 (n,
    dimensions).
    """

    ids: list[str]
    namespaces: list[str]
    seqs: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    expires_at_ms: npt.NDArray[np.int64]
    significances: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32]


EXPIRED: Final = "expired"
"""The `deletion` of memories whose time is over."""

NEVER_MS: Final = 2**63 - 1
"""The expiry, in `Columns`, of a memory that does not expire."""


def columns_of(memories: Sequence[Memory], dimensions: int) -> Columns:
    """Return the columns of these memories, in their order."""
    vectors = np.empty((len(memories), dimensions), dtype=np.float32)
    for row, memory in enumerate(memories):
        vectors[row] = memory.vector
    expiries = [NEVER_MS if memory.expires_at_ms is None else memory.expires_at_ms for memory in memories]
    return Columns(
        ids=[memory.id for memory in memories],
        namespaces=[memory.namespace for memory in memories],
        seqs=np.array([memory.seq for memory in memories], dtype=np.int64),
        timestamps_ms=np.array([memory.timestamp_ms for memory in memories], dtype=np.int64),
        expires_at_ms=np.array(expiries, dtype=np.int64),
        significances=np.array([memory.significance for memory in memories], dtype=np.float64),
        vectors=vectors,
    )


@dataclass(frozen=True, slots=True)
class ModelMark:
    """The embedding model whose vectors a store holds: its name and the dimensions of every vector."""

    name: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Facts about a store for `stats`: sizes in bytes, counts of rows, versions.

    `checked` says whether its indexes have been compared with its rows since it was opened.
    """

    engine: str
    engine_version: str
    schema_version: int
    size_bytes: int
    rows: int
    deleted_rows: int
    damaged_rows: int
    last_backup_ms: int | None = None
    checked: Literal["complete", "structure"] = "complete"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which undeleted memories a change is about: everything that is set must hold; None holds always.

    `before_ms` and `below_significance` are exclusive bounds.
    """

    namespace: str | None = None
    ids: tuple[str, ...] | None = None
    seqs: tuple[int, ...] | None = None
    wanted: Filter = EVERYTHING
    before_ms: int | None = None
    below_significance: float | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """How many memories a selection holds, and the first of them by seq; damaged ones are only counted."""

    total: int
    memories: list[Memory]


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup: its file, the bytes of it, and the rows in it, deleted and damaged ones included."""

    file: Path
    size_bytes: int
    rows: int
    damaged_rows: int


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page of a listing: memories before `before_seq` (None: from the newest), at most `limit`.

    `now_ms` hides what has expired by then; `deleted` lists the deleted ones instead of the others,
    `duplicates` only those that repeated another one when they were stored.
    """

    namespace: str
    limit: int
    now_ms: int
    before_seq: int | None = None
    wanted: Filter = EVERYTHING
    deleted: bool = False
    duplicates: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, and the `before_seq` of the next one (None: this was the last)."""

    memories: list[Memory]
    next_before_seq: int | None


class CommitUnknown(Exception):
    """Whether a group was committed cannot be found out; only reading everything again can tell."""


def other_model(where: str, recorded: tuple[str | None, str | None], model: ModelMark) -> StoreUnusable:
    """The refusal of a model whose vectors cannot be compared with those that are stored."""
    return StoreUnusable(
        f"the memories were embedded with the model {recorded[0]} ({recorded[1]} dimensions); vectors of "
        f"{model.name} ({model.dimensions} dimensions) cannot be compared with them",
        where=where,
        mend=f"set the option `model` to {recorded[0]} (`backend`, if that is debug), or `path` to a "
        "new folder (`store` to another database)",
    )


class Transaction(Protocol):
    """What one operation may do inside a group; it sees its own writes and those of earlier operations."""

    def find(self, memory_id: str) -> Memory | None:
        """Return the memory of that id, deleted or not, or None. Raises StorageError if it is damaged."""

    def insert(self, memory: Memory) -> Memory:
        """Add a memory whose id is not taken; returns it with its `seq`."""

    def insert_many(self, memories: Sequence[Memory]) -> list[Memory]:
        """Add memories whose ids are not taken, one at least; returns them with their `seq`, in order."""

    def replace(self, memory: Memory) -> None:
        """Write the undeleted memory of that seq anew; id and seq stay what they were."""

    def set_deleted(self, memory_id: str, at_ms: int | None) -> None:
        """Mark the memory as deleted at that time, or as restored with None."""

    def delete_selected(self, selection: Selection, at_ms: int, deletion: str) -> list[tuple[int, str]]:
        """Mark all that is selected as deleted by `deletion`; returns their seqs and ids, by seq."""

    def delete_expired(self, now_ms: int, most: int) -> list[int]:
        """Mark at most `most` memories that have expired by then as deleted; returns their seqs."""

    def restore_deletion(self, deletion: str) -> list[Memory]:
        """Bring back what `deletion` deleted and nothing restored since; returns the memories, by seq."""

    def purge(self, ids: Sequence[str] | None, deleted_before_ms: int, most: int) -> int:
        """Remove at most `most` deleted memories for good: the named ones, or those deleted before that time.

        Returns how many were removed. Their seqs are never given again.
        """

    def set_property(self, name: str, value: str) -> None:
        """Keep a fact about the store under that name."""


class Store(Protocol):
    """A durable, ordered set of memories.

    Writing methods are called from one thread at a time; reading methods from any. Failures of the disk
    raise StorageFull or StorageError and leave what was acknowledged before as it was.
    """

    def bind_model(self, model: ModelMark) -> None:
        """Record the model, or check it against the recorded one. Raises StoreUnusable if they differ."""

    def apply(self, operations: Sequence[Callable[[Transaction], T]]) -> list[T | RequestError]:
        """Run the operations in order in one transaction and return once it is on disk (one sync for all).

        A RequestError raised by an operation undoes that operation alone and is returned in its place. Any
        other error undoes the whole group and is raised.
        """

    def count(self) -> int:
        """Return how many memories are not deleted."""

    def scan(self, rows_per_step: int) -> Iterator[Columns]:
        """Yield every memory that is not deleted, by `seq`; damaged ones are counted, logged, left out."""

    def fetch(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """Return the memories of these seqs, deleted or not; unknown and damaged ones are left out."""

    def find_many(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Return the memories of these ids that are not deleted; damaged ones are left out."""

    def page(self, query: PageQuery) -> Page:
        """Return one page, newest stored first, without damaged memories."""

    def matching(self, namespace: str, wanted: Filter) -> npt.NDArray[np.int64]:
        """Return the seqs, ascending, of the undeleted memories of a namespace that pass the filter."""

    def select(self, selection: Selection, limit: int) -> Selected:
        """Return how many memories the selection holds, and the first `limit` of them."""

    def count_purgeable(self, ids: Sequence[str] | None, deleted_before_ms: int) -> int:
        """Return how many memories `Transaction.purge` would remove, however many that is."""

    def read_all(self, namespace: str | None, rows_per_step: int) -> Iterator[list[Memory]]:
        """Yield every undeleted, intact memory of a namespace (None: of all), by seq, as of one instant."""

    def backup(self, file: Path) -> Backup:
        """Write a complete, verified copy of the store to a new file while reading and writing go on.

        Raises InvalidRequest if this kind of store is backed up by other means.
        """

    def info(self) -> StoreInfo:
        """Return facts about the store."""

    def close(self) -> None:
        """Finish what is to be finished and let go of all files. Calling it twice is harmless."""
