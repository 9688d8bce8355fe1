"""The SQLite store on a disk that may fill up: what adds is refused then, what removes goes on.

It decides what a full disk still allows. How memories lie on the disk is `sqlite`'s, the space `ballast`'s.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from servers.errors import RequestError, StorageFull
from servers.memory.store.ballast import DEFAULT_BYTES, Ballast
from servers.memory.store.base import Memory, Selection, Transaction
from servers.memory.store.failures import RETRY_FULL_S
from servers.memory.store.lock import LOCK_WAIT_S
from servers.memory.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAST_REUSABLE_BYTES: Final = 8 << 20
"""With so much free inside the store's file, a group of changes does not make it grow."""


class BallastedStore(SqliteStore):
    """A `SqliteStore` that keeps `ballast_bytes` of its disk for the day it is full; parameters as there.

    Once the disk was full, `apply` refuses what adds memories (StorageFull, each operation for itself) and
    carries out what deletes, restores and purges, until the disk has room again, or purging has made room
    inside the file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        vfs: str | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
        ballast_bytes: int = DEFAULT_BYTES,
    ) -> None:
        super().__init__(folder, vfs=vfs, lock_wait_s=lock_wait_s)
        self._folder = folder
        self._ballast = Ballast(folder, ballast_bytes)
        self._ballast.hold()
        self._is_full = False

    def apply(self, operations: Sequence[Callable[[Transaction], T]]) -> list[T | RequestError]:
        """Run the operations in one transaction with one sync; see `Store.apply`."""
        if self._is_full and self._ballast.hold():
            self._is_full = False
            log.info("the disk of %s has room again: memories are stored again", self._folder)
        if not self._is_full or self._reusable_bytes() >= LEAST_REUSABLE_BYTES:
            try:
                return super().apply(operations)
            except StorageFull:
                if not self._is_full and not self._ballast.give_up():
                    raise
                self._is_full = True
                log.error("the disk of %s is full: nothing is stored, deleting goes on", self._folder)
        return super().apply([partial(self._without_adding, operation) for operation in operations])

    def _reusable_bytes(self) -> int:
        """Return what purging has freed inside the file, which storing uses up before the file grows."""
        ((pages,),) = self._rows("PRAGMA freelist_count", [])
        ((page_bytes,),) = self._rows("PRAGMA page_size", [])
        return int(pages) * int(page_bytes)

    def _without_adding(self, operation: Callable[[Transaction], T], transaction: Transaction) -> T:
        return operation(_OnlyRemoving(transaction, self._folder))


class _OnlyRemoving:
    """A `Transaction` that adds nothing."""

    def __init__(self, transaction: Transaction, folder: Path) -> None:
        self._folder = folder
        self.find = transaction.find
        self.set_deleted = transaction.set_deleted
        self.delete_selected: Callable[[Selection, int, str], list[tuple[int, str]]] = (
            transaction.delete_selected
        )
        self.delete_expired = transaction.delete_expired
        self.restore_deletion = transaction.restore_deletion
        self.purge = transaction.purge
        self.set_property = transaction.set_property

    def insert(self, memory: Memory) -> Memory:
        """Refuse a new memory."""
        raise self._full()

    def insert_many(self, memories: Sequence[Memory]) -> list[Memory]:
        """Refuse new memories."""
        raise self._full()

    def replace(self, memory: Memory) -> None:
        """Refuse a longer text."""
        raise self._full()

    def _full(self) -> StorageFull:
        return StorageFull(
            f"The disk of {self._folder} is full: nothing was stored. Reading and deleting go on; free some "
            "space on it and repeat.",
            retry_after=RETRY_FULL_S,
        )
