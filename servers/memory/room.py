"""How many memories and namespaces a store may still take in, by the options that limit them.

It decides what is refused as one too many, and says which option says so. It counts one group of changes at a
time, in the thread that commits; it does not know stores or indexes.
"""

from collections.abc import Callable, Sequence

from servers.errors import StorageFull
from servers.memory.store.base import Memory


class Room:
    """The limits `most_memories` and `most_namespaces` (None: none), and what a group has used of them."""

    def __init__(self, most_memories: int | None = None, most_namespaces: int | None = None) -> None:
        self._most_memories = most_memories
        self._most_namespaces = most_namespaces
        self._memories = 0
        self._namespaces = 0
        self._is_known: Callable[[str], bool] = lambda name: False
        self._new: set[str] = set()

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit, so that what is there has to be counted."""
        return self._most_memories is not None or self._most_namespaces is not None

    def begin(self, memories: int, namespaces: int, is_known: Callable[[str], bool]) -> None:
        """Begin a group on a store with so many memories in so many namespaces, which `is_known` tells."""
        self._memories, self._namespaces, self._is_known = memories, namespaces, is_known
        self._new.clear()

    def take(self, added: Sequence[Memory]) -> None:
        """Count memories that one change adds. Raises StorageFull, and counts none, if they are too many."""
        if not added or not self.is_limited:
            return
        self._require(
            self._memories + len(added),
            self._most_memories,
            "holds as many memories as it may",
            "max_memories",
            "Forget some first; `forget` with keep makes room.",
        )
        new = {memory.namespace for memory in added if not self._is_known(memory.namespace)} - self._new
        if new:
            self._require(
                self._namespaces + len(self._new) + len(new),
                self._most_namespaces,
                "has as many namespaces as it may",
                "max_namespaces",
                "Use one that exists, or raise the option.",
            )
        self._memories += len(added)
        self._new |= new

    @staticmethod
    def _require(wanted: int, most: int | None, what: str, option: str, mend: str) -> None:
        if most is not None and wanted > most:
            raise StorageFull(
                f"The store {what} ({most}, option {option}): nothing was stored. {mend}",
                details={"limit": most, "option": option},
            )
