"""Whether a request may join the queue, and if not, when it is worth asking again.

Pure. It decides by counting texts and tokens that are admitted and unanswered, against two limits, of which
bulk work may use only a part; a request is admitted whole or refused whole. It knows no clock: the model's
recent speed is given to it.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from servers.errors import Overloaded

MIN_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 600.0
UNKNOWN_SPEED_RETRY_S: Final = 1.0

BULK_SHARE: Final = 0.75
"""Bulk work is refused above this share of the queue, so that it cannot shut interactive clients out."""


@dataclass(slots=True, eq=False)
class Permit:
    """The room that one admitted request takes up, until it is released."""

    texts: int
    tokens: int
    client: Hashable


class Admission:
    """Counts what is admitted; used from one thread only."""

    def __init__(self, max_texts: int, max_tokens: int) -> None:
        """Admit up to `max_texts` unanswered texts of `max_tokens` tokens together."""
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self._tokens_of: dict[Hashable, int] = {}
        self.texts = 0
        self.tokens = 0

    @property
    def max_texts(self) -> int:
        """The limit in texts, as shown in `stats`."""
        return self._max_texts

    @property
    def max_tokens(self) -> int:
        """The limit in tokens, as shown in `stats`."""
        return self._max_tokens

    def admit(
        self,
        texts: int,
        tokens: int,
        tokens_per_s: float | None,
        *,
        client: Hashable = None,
        bulk: bool = False,
    ) -> Permit:
        """Return a permit for `texts` texts of about `tokens` tokens together.

        Raises `Overloaded` as `require_room` does.
        """
        self.require_room(texts, tokens, tokens_per_s, bulk=bulk)
        permit = Permit(texts, 0, client)
        self.texts += texts
        self.correct(permit, tokens)
        return permit

    def require_room(
        self, texts: int, tokens: int, tokens_per_s: float | None, *, bulk: bool = False
    ) -> None:
        """Raise `Overloaded` unless there is room for `texts` texts of about `tokens` tokens together.

        An empty queue has room for any request. The error tells the seconds after which, at `tokens_per_s`,
        enough will have been answered for the same request to be admitted.
        """
        excess = self._excess_tokens(texts, tokens, BULK_SHARE if bulk else 1.0)
        if self.texts and excess > 0:
            raise Overloaded(
                f"The queue is full: {self.texts} of {self._max_texts} texts wait. Nothing was queued.",
                details={"waiting_texts": self.texts, "limit_texts": self._max_texts},
                retry_after=_retry_after(excess, tokens_per_s),
            )

    def _excess_tokens(self, texts: int, tokens: int, share: float) -> float:
        """Return how many tokens must be answered first; 0 or less if there is room."""
        over_tokens = self.tokens + tokens - self._max_tokens * share
        over_texts = self.texts + texts - self._max_texts * share
        mean_tokens = self.tokens / self.texts if self.texts else 0.0
        return max(over_tokens, over_texts * mean_tokens) if over_texts > 0 else over_tokens

    def wait_s(self, permit: Permit, tokens_per_s: float | None) -> float:
        """Return at least how long a permit's request will take, in seconds; 0.0 while the speed is unknown.

        Clients take turns, so of each other client at most as much goes before as this one has waiting.
        """
        if not tokens_per_s:
            return 0.0
        own = self._tokens_of.get(permit.client, 0)
        return sum(min(own, tokens) for tokens in self._tokens_of.values()) / tokens_per_s

    def correct(self, permit: Permit, tokens: int) -> None:
        """Replace a permit's estimate by the true number of tokens."""
        more = tokens - permit.tokens
        permit.tokens = tokens
        self.tokens += more
        of_client = self._tokens_of.get(permit.client, 0) + more
        if of_client:
            self._tokens_of[permit.client] = of_client
        else:
            self._tokens_of.pop(permit.client, None)

    def release(self, permit: Permit) -> None:
        """Give the permit's room back; releasing twice is harmless."""
        self.texts -= permit.texts
        permit.texts = 0
        self.correct(permit, 0)


def _retry_after(tokens: float, tokens_per_s: float | None) -> float:
    if not tokens_per_s:
        return UNKNOWN_SPEED_RETRY_S
    return round(min(MAX_RETRY_S, max(MIN_RETRY_S, tokens / tokens_per_s)), 2)
