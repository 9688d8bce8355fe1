"""Requests that wait for vectors, and the texts they consist of.

It decides when a request is complete and what becomes of it when one of its texts fails or nobody waits any
more. The event loop owns a `PendingRequest`; the model thread only reads `is_wanted` and writes rows of
`vectors` that the loop does not look at before they are reported done.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from servers.embedding.engine import Tokens, Vectors


class TextFailed(Exception):
    """One text of a request has no vector; `place` counts from 0, the cause is the engine's error."""

    def __init__(self, place: int) -> None:
        """Remember which text it was."""
        super().__init__(place)
        self.place = place

    def __str__(self) -> str:
        """Name the text."""
        return f"text {self.place} could not be embedded"


class PendingRequest:
    """Texts that were admitted together and are answered together."""

    def __init__(self, texts: int, dimensions: int, *, normalize: bool, bulk: bool, queued_at: float) -> None:
        """Wait for `texts` vectors; instants are `loop.time()`, in seconds."""
        self.vectors: Vectors = np.empty((texts, dimensions), dtype=np.float32)
        self.normalize = normalize
        self.bulk = bulk
        self.queued_at = queued_at
        self.started_at: float | None = None
        self.finished_at = queued_at
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = texts
        self._departed = False

    @property
    def is_departed(self) -> bool:
        """Whether nobody waits for the vectors any more; its queued texts must not be computed."""
        return self._departed

    def depart(self) -> None:
        """Drop whatever is still queued; idempotent."""
        self._departed = True

    def report(self, texts: int, started_at: float, finished_at: float) -> None:
        """Take note that `texts` more rows of `vectors` are filled in."""
        if self.started_at is None:
            self.started_at = started_at
        self.finished_at = finished_at
        self._missing -= texts
        if self._missing == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Answer with `error` at once; what is still queued is dropped."""
        self.depart()
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class PendingText:
    """One text in the queue: its tokens, and where its vector belongs."""

    tokens: Tokens
    request: PendingRequest
    place: int

    @property
    def length(self) -> int:
        """The true length in tokens."""
        return len(self.tokens)

    @property
    def bulk(self) -> bool:
        """Whether it waits in the bulk lane."""
        return self.request.bulk


def is_wanted(text: PendingText) -> bool:
    """Tell whether somebody still waits for this text."""
    return not text.request.is_departed


def texts_of(request: PendingRequest, tokens: Sequence[Tokens]) -> list[PendingText]:
    """Return the queue's entries for a request's texts, in order."""
    return [PendingText(each, request, place) for place, each in enumerate(tokens)]
