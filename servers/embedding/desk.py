"""Who has been admitted and what they wait for: the bookkeeping between requests and finished batches.

It decides that a request's room is freed the moment it leaves, that a text which several wait for is handed
to all of them, and what each is told when it has no vector. Used on the event loop, but for `note_tokens`.
It knows neither threads nor engines.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from servers.embedding.admission import Admission, Permit
from servers.embedding.model_thread import FinishedBatch
from servers.embedding.pending import PendingRequest, TextsUnderway
from servers.errors import DeadlineExceeded, InternalError, RequestError

logger = logging.getLogger(__name__)

CHARS_PER_TOKEN: Final = 5
"""What a text is taken to hold until it is tokenised a moment later."""


class Desk:
    """The requests of one worker, from admission to departure."""

    def __init__(self, max_texts: int, max_tokens: int) -> None:
        """Admit up to `max_texts` texts and `max_tokens` tokens at a time."""
        self.admission = Admission(max_texts, max_tokens)
        self.underway = TextsUnderway()
        self._permits: dict[PendingRequest, Permit] = {}
        self._true_tokens: deque[tuple[PendingRequest, int]] = deque()

    def require_room(
        self, texts: Sequence[str], max_tokens: int, tokens_per_s: float | None, *, bulk: bool
    ) -> None:
        """Raise `Overloaded` if `enter` would, without taking any room."""
        self._correct_estimates()
        self.admission.require_room(len(texts), _estimate(texts, max_tokens), tokens_per_s, bulk=bulk)

    def enter(self, request: PendingRequest, max_tokens: int, tokens_per_s: float | None) -> None:
        """Admit a request whose texts have at most `max_tokens` tokens each, at the model's recent speed.

        Raises `Overloaded`, and `DeadlineExceeded` when its deadline cannot be met. Whether it raises or not,
        `leave` must follow.
        """
        self._correct_estimates()
        tokens = _estimate(request.texts, max_tokens)
        permit = self.admission.admit(
            len(request.texts), tokens, tokens_per_s, client=request.client, bulk=request.bulk
        )
        self._permits[request] = permit
        if request.deadline is not None:
            wait_s = self.admission.wait_s(permit, tokens_per_s)
            if request.is_expired(request.began_at + wait_s):
                raise DeadlineExceeded(f"The deadline is too near: at present this takes {wait_s:.3f} s.")
        self.underway.join(request)

    def leave(self, request: PendingRequest) -> None:
        """Free a request's room; what of it is still queued is dropped."""
        request.depart()
        self.underway.leave(request)
        permit = self._permits.pop(request, None)
        if permit is not None:
            self.admission.release(permit)

    def note_tokens(self, request: PendingRequest) -> None:
        """Note a request's true size, to be counted soon; may be called from any thread."""
        self._true_tokens.append((request, sum(len(each) for each in request.tokens)))

    def _correct_estimates(self) -> None:
        while self._true_tokens:
            request, tokens = self._true_tokens.popleft()
            permit = self._permits.get(request)
            if permit is not None:
                self.admission.correct(permit, tokens)

    def deliver(self, batch: FinishedBatch) -> None:
        """Hand the vectors of a batch, or its failures, to everybody who waits for them."""
        for row, entry in enumerate(batch.texts):
            cause = batch.failures.get(row)
            for request, place in self.underway.finish(entry.shared):
                request.note_batch(batch.started_at, batch.finished_at)
                if cause is None:
                    vector = (batch.unit if request.normalize else batch.raw)[row]
                    request.receive(place, vector, entry.tokens)
                else:
                    request.fail(_text_failed(place, cause))

    def fail_all(self, reason: RequestError) -> None:
        """Answer everybody who waits with `reason`."""
        for request in tuple(self._permits):
            request.fail(reason)

    def fail_queued(self, reason: RequestError) -> None:
        """Answer those with `reason` who wait for more than what is being computed at this moment."""
        for request in tuple(self._permits):
            if not all(shared.is_taken for shared in request.shared):
                request.fail(reason)


def _estimate(texts: Sequence[str], max_tokens: int) -> int:
    return sum(min(max_tokens, len(text) // CHARS_PER_TOKEN + 2) for text in texts)


def _text_failed(place: int, cause: Exception) -> InternalError:
    incident = uuid4().hex[:12]
    logger.error("text %d could not be embedded (incident %s)", place, incident, exc_info=cause)
    failure = InternalError(incident, f"The model could not embed text {place}")
    failure.details = {**(failure.details or {}), "text": place}
    return failure
