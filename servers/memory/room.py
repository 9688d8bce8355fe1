"""How many memories and namespaces a store may still take in, by the options that limit them or its index.

It decides what is refused as one too many, and says which option says so. It counts one group of changes at a
time, in the thread that commits; it does not know stores or indexes.
"""

from collections.abc import Callable, Sequence

from servers.errors import StorageFull
from servers.memory.store.base import Memory


class Room:
    """The limits `most_memories` and `most_namespaces` (None: none), and what a group has used of them.

    `rows_left` tells for how many more rows the index has room, None: for any.
    """

    def __init__(
        self,
        most_memories: int | None = None,
        most_namespaces: int | None = None,
        rows_left: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._most_memories = most_memories
        self._most_namespaces = most_namespaces
        self._read_rows_left = rows_left
        self._rows_left: int | None = None
        self._memories = 0
        self._namespaces = 0
        self._is_known: Callable[[str], bool] = lambda name: False
        self._new: set[str] = set()

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit, so that what is there has to be counted."""
        limits = (self._most_memories, self._most_namespaces, self._read_rows_left())
        return any(limit is not None for limit in limits)

    def begin(self, memories: int, namespaces: int, is_known: Callable[[str], bool]) -> None:
        """Begin a group on a store with so many memories in so many namespaces, which `is_known` tells."""
        self._memories, self._namespaces, self._is_known = memories, namespaces, is_known
        self._new.clear()
        self._rows_left = self._read_rows_left()

    def take(self, added: Sequence[Memory], replaced: Sequence[Memory] = ()) -> None:
        """Count memories that one change adds, and those that it writes anew, which take room in the index.

        Raises StorageFull, and counts none, if they are too many.
        """
        self._require_rows(len(added) + len(replaced))
        if added and self.is_limited:
            self._take_added(added)
        if self._rows_left is not None:
            self._rows_left -= len(added) + len(replaced)

    def _require_rows(self, wanted: int) -> None:
        if self._rows_left is not None and wanted > self._rows_left:
            raise StorageFull(
                "The index has no room for more memories (option index_memory): nothing was stored. Raise "
                "the option; or forget some and restart, since only a restart gives their room back.",
                details={"limit": self._rows_left, "option": "index_memory"},
            )

    def _take_added(self, added: Sequence[Memory]) -> None:
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
