"""What a store in files of its own can do beyond `Store`: tell what changed, and check itself later.

It defines the records and the protocol; it does not know SQL or what is made of the answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from servers.memory.store.base import Columns, Memory


@dataclass(frozen=True, slots=True)
class Marks:
    """Undeleted rows as of now: their seqs, ascending, and the checksums of what they hold, int64 (n,)."""

    seqs: npt.NDArray[np.int64]
    checksums: npt.NDArray[np.int64]


@runtime_checkable
class Marked(Protocol):
    """A store that can say, without reading them in full, whether rows are still what they were."""

    @property
    def derived_folder(self) -> Path:
        """Where files may lie that can be made again from the store; need not exist."""

    def row_sums(self, first: int, last: int) -> tuple[int, int, int]:
        """Return count, sum of checksums, and sum of checksums times place, of the `Marks` of these seqs."""

    def row_marks(self, first: int, last: int) -> Marks:
        """Return the marks of the undeleted rows whose seqs lie in first…last."""

    def scan(self, rows_per_step: int, after_seq: int = 0) -> Iterator[Columns]:
        """Yield what `Store.scan` does, from the first seq above `after_seq` on."""

    def fetch(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """Return what `Store.fetch` does."""

    def verify(self) -> None:
        """Check what opening left for later, which may take long; raises StoreUnusable for damage."""

    def stop_verifying(self) -> None:
        """Have a `verify` that is going on in another thread return at once, without a verdict."""
