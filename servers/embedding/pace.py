"""How fast the model has been lately, and how large a batch may therefore be.

Pure. A batch costs a fixed time and a time per token; both are learned from the batches themselves. Knows
neither queues nor clocks: counts and seconds are given to it.
"""

import math
from typing import Final

LONGEST_BATCH_S: Final = 0.06
"""How long a batch should take at most: what a newcomer waits for behind a running batch.

Also what keeps a crowd in two groups: clients that were all answered at once leave the model without work
until they have asked again.
"""

SHORTEST_BULK_BATCH_S: Final = 0.008
"""A bulk batch may always take this long: nobody notices a wait this short."""

LEAST_WORK: Final = 4.0
"""The part of a batch that depends on its tokens is worth at least this multiple of its fixed part."""

LEAST_WORK_BESIDE: Final = 0.5
"""The same for a bulk batch beside interactive ones, where waiting counts for more than throughput."""

HICCUP: Final = 3.0
"""A batch counts as at most this multiple of what was expected: the machine was busy with something else.

A device that has really become slower is believed after a few batches.
"""

INTERACTIVE_MEMORY_S: Final = 1.0
"""For so long after an interactive batch, another one is expected soon and bulk batches stay short."""

MIN_BUDGET_TOKENS: Final = 512
"""While the speed is unknown, a batch has no more than this."""

LEAST_SHARE_OF_TOKENS: Final = 0.25
"""At least this part of the mean cost of a token is taken to depend on it, whatever batches have shown.

On a busy machine small batches may happen to take longer than large ones. Without this, tokens would then
seem to cost nothing, and the next batch would have as many of them as are allowed: seconds in which nobody is
answered.
"""

_DECAY: Final = 0.95
_LEAST_SPREAD: Final = 0.05


class Pace:
    """The model's recent speed: exponentially weighted sums over batches of (tokens, seconds).

    Large batches count for more, since they tell more about speed under load.
    """

    def __init__(self) -> None:
        """Start without knowing anything."""
        self._weight = self._tokens = self._seconds = 0.0
        self._tokens_squared = self._products = 0.0
        self._interactive_s = 0.0
        self._interactive_at = -math.inf

    def update(self, tokens: int, seconds: float) -> None:
        """Take one batch into account."""
        expected = self.batch_seconds(tokens)
        if expected > 0.0:
            seconds = min(seconds, HICCUP * expected)
        self._weight = self._weight * _DECAY + 1.0
        self._tokens = self._tokens * _DECAY + tokens
        self._seconds = self._seconds * _DECAY + seconds
        self._tokens_squared = self._tokens_squared * _DECAY + tokens * tokens
        self._products = self._products * _DECAY + tokens * seconds

    def note_interactive(self, seconds: float, now: float) -> None:
        """An interactive batch that took `seconds` has ended at `now`."""
        self._interactive_s += (seconds - self._interactive_s) * (1.0 if self._interactive_s == 0.0 else 0.2)
        self._interactive_at = now

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens over seconds of the recent batches, or None before the first."""
        return self._tokens / self._seconds if self._seconds > 0.0 else None

    def batch_seconds(self, tokens: int) -> float:
        """Return what a batch of `tokens` is expected to take, 0.0 before the first batch."""
        fixed, per_token = self._line()
        return fixed + per_token * tokens

    def budget_tokens(self, most: int, *, bulk: bool, now: float, streams: int = 1) -> int:
        """Return how many tokens the next batch of a lane may have, 1 to `most`, on so many streams together.

        A slow device gets smaller batches, about `LONGEST_BATCH_S` long, so that nobody waits long behind
        one. While interactive clients are about, a bulk batch takes no longer than theirs do, so that theirs
        wait for about as long as they take; that costs bulk some throughput, which is what its lane is for.
        """
        if self._seconds <= 0.0:
            return min(most, MIN_BUDGET_TOKENS)
        fixed, per_token = self._line()
        if bulk and now - self._interactive_at <= INTERACTIVE_MEMORY_S:
            seconds = min(LONGEST_BATCH_S, max(SHORTEST_BULK_BATCH_S, self._interactive_s))
            least_work = LEAST_WORK_BESIDE
        else:
            seconds, least_work = LONGEST_BATCH_S, LEAST_WORK
        tokens = streams * max(fixed * least_work, seconds - fixed) / per_token
        return max(1, min(most, math.floor(tokens)))

    def _line(self) -> tuple[float, float]:
        """Return the fixed seconds of a batch and its seconds per token, by weighted least squares."""
        if self._seconds <= 0.0:
            return 0.0, 0.0
        mean_tokens, mean_seconds = self._tokens / self._weight, self._seconds / self._weight
        variance = self._tokens_squared / self._weight - mean_tokens**2
        if variance < (_LEAST_SPREAD * mean_tokens) ** 2:
            # Batches of one size say nothing about the fixed part.
            return 0.0, mean_seconds / mean_tokens
        slope = (self._products / self._weight - mean_tokens * mean_seconds) / variance
        mean_cost = mean_seconds / mean_tokens
        per_token = min(max(slope, LEAST_SHARE_OF_TOKENS * mean_cost), mean_cost)
        return mean_seconds - per_token * mean_tokens, per_token
