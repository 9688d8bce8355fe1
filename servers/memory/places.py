"""Which row of the columns holds which memory.

It decides how seqs are looked up; it does not know what else a row holds.
"""

import numpy as np
import numpy.typing as npt


class Places:
    """Which row holds a seq: a sorted column for those that come in order, a dict for the few that do not.

    A dict of all of them would take 100 bytes a row, more than all other columns but the vectors together.
    One thread adds, any looks up.
    """

    def __init__(self) -> None:
        self._highest = np.empty(0, dtype=np.int64)  # the highest seq up to each row, thus ascending
        self._rows = 0
        self._late: dict[int, int] = {}

    def reserve(self, capacity: int) -> None:
        """Make room for so many rows in all."""
        larger = np.empty(capacity, dtype=np.int64)
        larger[: self._rows] = self._highest[: self._rows]
        self._highest = larger

    def add(self, seqs: npt.NDArray[np.int64], start: int) -> None:
        """Note that the rows from `start` on, the next ones, hold these seqs."""
        end = start + len(seqs)
        if end > len(self._highest):
            self.reserve(max(end, 2 * len(self._highest)))
        before = self._highest[start - 1] if start else np.iinfo(np.int64).min
        if len(seqs) == 1 and seqs[0] > before:
            self._highest[start] = seqs[0]
            self._rows = end
            return
        highest = np.maximum.accumulate(np.concatenate([[before], seqs]))
        late = (seqs <= highest[:-1]).nonzero()[0]
        self._late.update(zip(seqs[late].tolist(), (late + start).tolist(), strict=True))
        self._highest[start:end] = highest[1:]
        self._rows = end

    def find(self, seqs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the newest row of each seq, -1 where there is none."""
        highest = self._highest[: self._rows]
        rows = np.searchsorted(highest, seqs)
        known = rows < self._rows
        known[known] = highest[rows[known]] == seqs[known]
        found = np.where(known, rows, -1)
        if self._late:
            for place, seq in enumerate(seqs.tolist()):
                found[place] = self._late.get(seq, found[place])
        return found
