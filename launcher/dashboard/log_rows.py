"""Which line stands at which row of a pane where a line may take several rows.

Pure arithmetic on heights; knows nothing of what the lines say.
"""

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["RowIndex"]


class RowIndex:
    """The rows of a list of lines: `append` and `drop` follow the list, `locate` answers in O(log n)."""

    def __init__(self, heights: Iterable[int] = ()) -> None:
        self._ends: list[int] = []
        self._base = 0
        self.append(heights)

    def __len__(self) -> int:
        """How many rows there are."""
        return self._ends[-1] - self._base if self._ends else 0

    @property
    def lines(self) -> int:
        """How many lines take these rows."""
        return len(self._ends)

    def append(self, heights: Iterable[int]) -> None:
        """Lines of these heights (each at least 1) came at the end."""
        end = self._ends[-1] if self._ends else self._base
        for height in heights:
            end += height
            self._ends.append(end)

    def drop(self, count: int) -> int:
        """The first `count` lines went; returns how many rows they took."""
        if count == 0:
            return 0
        before = self._base
        self._base = self._ends[count - 1]
        del self._ends[:count]
        return self._base - before

    def locate(self, row: int) -> tuple[int, int]:
        """The line at `row`, and which of its rows that is; raises IndexError below the last row."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        line = bisect_right(self._ends, row + self._base)
        start = self._ends[line - 1] if line else self._base
        return line, row + self._base - start

    def start(self, line: int) -> int:
        """The first row of a line."""
        return (self._ends[line - 1] if line else self._base) - self._base
