"""Whether a request may join the queue, and if not, when it is worth asking again.

Pure. It decides by counting texts and tokens that are admitted and unanswered, against two limits; a
request is admitted whole or refused whole. It knows no clock: the model's recent speed is given to it.
"""

from dataclasses import dataclass
from typing import Final

from servers.errors import Overloaded

MIN_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 600.0
UNKNOWN_SPEED_RETRY_S: Final = 1.0


@dataclass(slots=True, eq=False)
class Permit:
    """The room that one admitted request takes up, until it is released."""

    texts: int
    tokens: int


class Admission:
    """Counts what is admitted; used from one thread only."""

    def __init__(self, max_texts: int, max_tokens: int) -> None:
        """Admit up to `max_texts` unanswered texts of `max_tokens` tokens together."""
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self.texts = 0
        self.tokens = 0

    @property
    def max_texts(self) -> int:
        """The limit in texts, as shown in `stats`."""
        return self._max_texts

    def admit(self, texts: int, tokens: int, tokens_per_s: float | None) -> Permit:
        """Return a permit for `texts` texts of at most `tokens` tokens together.

        An empty queue admits any request. Raises `Overloaded` with the seconds after which, at
        `tokens_per_s`, enough will have been answered for the same request to be admitted.
        """
        excess = self._excess_tokens(texts, tokens)
        if self.texts and excess > 0:
            raise Overloaded(
                f"The queue is full: {self.texts} of {self._max_texts} texts wait. Nothing was queued.",
                details={"waiting_texts": self.texts, "limit_texts": self._max_texts},
                retry_after=_retry_after(excess, tokens_per_s),
            )
        self.texts += texts
        self.tokens += tokens
        return Permit(texts, tokens)

    def _excess_tokens(self, texts: int, tokens: int) -> float:
        """Return how many tokens must be answered first; 0 or less if there is room."""
        over_tokens = float(self.tokens + tokens - self._max_tokens)
        over_texts = self.texts + texts - self._max_texts
        mean_tokens = self.tokens / self.texts if self.texts else 0.0
        return max(over_tokens, over_texts * mean_tokens) if over_texts > 0 else over_tokens

    def correct(self, permit: Permit, tokens: int) -> None:
        """Replace a permit's estimate by the true number of tokens."""
        self.tokens += tokens - permit.tokens
        permit.tokens = tokens

    def release(self, permit: Permit) -> None:
        """Give the permit's room back; releasing twice is harmless."""
        self.texts -= permit.texts
        self.tokens -= permit.tokens
        permit.texts = permit.tokens = 0


def _retry_after(tokens: float, tokens_per_s: float | None) -> float:
    if not tokens_per_s:
        return UNKNOWN_SPEED_RETRY_S
    return round(min(MAX_RETRY_S, max(MIN_RETRY_S, tokens / tokens_per_s)), 2)
