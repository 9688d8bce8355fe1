"""Requests that wait for vectors, the texts they consist of, and texts that several of them wait for.

It decides when a request is complete, what becomes of it when one of its texts fails or nobody waits any
more, and that a text which is already on its way is computed once for all who ask for it. The event loop
owns all of it; of the rest, the tokenizer threads read `texts`, and the model thread reads `is_wanted` and
takes entries.
"""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from servers.embedding.engine import Tokens, Vectors


class PendingRequest:
    """Texts that were admitted together and are answered together; instants are `loop.time()`, in seconds."""

    def __init__(
        self,
        texts: Sequence[str],
        dimensions: int,
        *,
        normalize: bool = True,
        truncate: bool = True,
        bulk: bool = False,
        client: Hashable = None,
        deadline: float | None = None,
    ) -> None:
        """Wait for the vectors of `texts`, each of `dimensions` numbers."""
        loop = asyncio.get_running_loop()
        self.texts = texts
        self.normalize, self.truncate, self.bulk = normalize, truncate, bulk
        self.client, self.deadline = client, deadline
        self.tokens: list[Tokens] = []
        self.read: list[Tokens | None] = [None] * len(texts)
        self.shared: list[SharedText] = []
        self.vectors: Vectors = np.empty((len(texts), dimensions), dtype=np.float32)
        self.began_at = self.queued_at = self.finished_at = loop.time()
        self.started_at: float | None = None
        self.done: asyncio.Future[None] = loop.create_future()
        self._missing = len(texts)
        self._departed = False

    @property
    def is_departed(self) -> bool:
        """Whether nobody waits for the vectors any more; its queued texts must not be computed."""
        return self._departed

    def depart(self) -> None:
        """Drop whatever is still queued; idempotent."""
        self._departed = True

    def is_expired(self, now: float) -> bool:
        """Tell whether the deadline has passed at `now`."""
        return self.deadline is not None and now >= self.deadline

    def receive(self, place: int, vector: Vectors, tokens: Tokens) -> None:
        """Take the vector of the text at `place` and what was read for it; the last one answers the request.

        The tokens may be another request's for the same text, and come before this one's own.
        """
        self.vectors[place] = vector
        self.read[place] = tokens
        self._missing -= 1
        if self._missing == 0 and not self.done.done():
            self.done.set_result(None)

    def note_batch(self, started_at: float, finished_at: float) -> None:
        """Take note of a batch with some of its texts."""
        if self.started_at is None:
            self.started_at = started_at
        self.finished_at = finished_at

    def fail(self, error: BaseException) -> None:
        """Answer with `error` at once; what is still queued is dropped."""
        self.depart()
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(slots=True, eq=False)
class SharedText:
    """One text that is on its way, for everybody who waits for it; `is_taken` once it is in a batch."""

    text: str
    waiters: list[tuple[PendingRequest, int]] = field(default_factory=list)
    is_taken: bool = False

    def take(self) -> bool:
        """Claim the text for a batch; False if another batch, or another entry of this one, has it."""
        if self.is_taken:
            return False
        self.is_taken = True
        return True


class QueuedText:
    """One text of one request in the queue. A shared text has an entry of each request that waits for it.

    So whoever's turn comes first has it computed, and neither a slow lane nor a departure of one holds the
    others up. `length` is the true length in tokens, `bulk` the lane, `client` whose text it is: read several
    times for every text while batches are formed, so they are kept, not looked up.
    """

    __slots__ = ("bulk", "client", "length", "request", "shared", "tokens")

    def __init__(self, tokens: Tokens, request: PendingRequest, shared: SharedText) -> None:
        """Stand for the text of `request` that `tokens` were read from."""
        self.tokens, self.request, self.shared = tokens, request, shared
        self.length, self.bulk, self.client = len(tokens), request.bulk, request.client

    def is_wanted(self, now: float) -> bool:
        """Tell whether somebody still waits, in time, for what nobody has begun to compute."""
        return not (self.shared.is_taken or self.request.is_departed or self.request.is_expired(now))


class TextsUnderway:
    """The texts that are queued or computed just now, by their text; used on the event loop only."""

    def __init__(self) -> None:
        """Start with none."""
        self._underway: dict[str, SharedText] = {}
        self.joined = 0

    def __len__(self) -> int:
        """Return how many different texts are on their way."""
        return len(self._underway)

    def join(self, request: PendingRequest) -> None:
        """Fill `request.shared`: a text that is on its way is waited for together."""
        for place, text in enumerate(request.texts):
            # A text that must not be cut is looked at by its own request before anybody computes it.
            shared = self._shared(text) if request.truncate else SharedText(text)
            shared.waiters.append((request, place))
            request.shared.append(shared)

    def _shared(self, text: str) -> SharedText:
        shared = self._underway.get(text)
        if shared is None:
            shared = self._underway[text] = SharedText(text)
        else:
            self.joined += 1
        return shared

    def leave(self, request: PendingRequest) -> None:
        """Wait no longer for any text of `request`; texts that nobody waits for are forgotten."""
        for shared in request.shared:
            shared.waiters = [waiter for waiter in shared.waiters if waiter[0] is not request]
            if not shared.waiters:
                self._forget(shared)

    def finish(self, shared: SharedText) -> Sequence[tuple[PendingRequest, int]]:
        """Return who waits for a text that has been computed; newcomers have it computed again."""
        self._forget(shared)
        return shared.waiters

    def _forget(self, shared: SharedText) -> None:
        if self._underway.get(shared.text) is shared:
            del self._underway[shared.text]
