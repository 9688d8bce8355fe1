"""Whether those who were just answered are about to ask again, so that a batch is worth waiting for them.

Pure. Clients that each wait for their answer before they ask again all leave at once with the batch that
answers them, and come back within moments, one by one. A batch begun with the first of them is nearly empty,
and the others wait behind it. So for a small part of what the last batch took, and only while clients have
been seen to come back that fast, the next batch waits for as many as have left. Knows neither queues nor
clocks: counts and instants (seconds) are given to it.
"""

from typing import Final

LONGEST_WAIT: Final = 0.12
"""As a share of the last batch's time: what is gained is several times as much."""

LEAST_LOYALTY: Final = 0.5
"""So many of those answered must have come back in time, of late, for others to wait for them."""

_DECAY: Final = 0.8


class Crowd:
    """The clients of the last batch; `note_asked` may be called at any time, all else between batches."""

    def __init__(self) -> None:
        """Nobody has been answered yet, and nobody is known to come back."""
        self._left = self._back = 0
        self._until = 0.0
        self._loyalty = 0.0

    def note_answered(self, texts: int, batch_s: float, now: float) -> None:
        """A batch of so many texts has ended at `now`, after `batch_s` seconds."""
        if self._left:
            share = min(1.0, self._back / self._left)
            self._loyalty = self._loyalty * _DECAY + share * (1.0 - _DECAY)
        self._left, self._back = texts, 0
        self._until = now + LONGEST_WAIT * batch_s

    def note_asked(self, texts: int, now: float) -> None:
        """So many texts have come in."""
        if now <= self._until:
            self._back += texts

    def wait_s(self, queued: int, now: float) -> float:
        """Return for how many seconds to wait for more than the texts that are queued, 0.0: not at all."""
        if self._loyalty < LEAST_LOYALTY or queued >= self._left:
            return 0.0
        return max(0.0, self._until - now)
