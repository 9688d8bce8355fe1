"""From the tokenizer's threads into the queue: what becomes of texts that have tokens, or cannot have any.

It decides when a request counts as queued and how a failing tokenizer is answered. Called on the tokenizer's
threads; what concerns requests it hands to the event loop.
"""

import asyncio
import logging
from collections.abc import Sequence
from uuid import uuid4

from servers.embedding.desk import Desk
from servers.embedding.model_thread import ModelThread
from servers.embedding.pending import PendingRequest, QueuedText
from servers.errors import InternalError, RequestError

logger = logging.getLogger(__name__)


class Intake:
    """The tokenizing stage's listener."""

    def __init__(self, desk: Desk, thread: ModelThread, loop: asyncio.AbstractEventLoop) -> None:
        """Queue for `thread`, count at `desk`, answer on `loop`."""
        self._desk, self._thread, self._loop = desk, thread, loop

    def on_tokens(self, entries: Sequence[QueuedText]) -> None:
        """Queue texts."""
        self._thread.put(entries)

    def on_tokenized(self, request: PendingRequest) -> None:
        """Note a request's true size, and that it waits for the model from now on."""
        request.queued_at = self._loop.time()
        self._desk.note_tokens(request)

    def on_refused(self, request: PendingRequest, error: Exception) -> None:
        """Answer a request whose texts cannot be tokenised as asked."""
        self._loop.call_soon_threadsafe(_refuse, request, error)


def _refuse(request: PendingRequest, error: Exception) -> None:
    if not isinstance(error, RequestError):
        incident = uuid4().hex[:12]
        logger.error("the tokenizer has failed (incident %s)", incident, exc_info=error)
        error = InternalError(incident, "The text could not be tokenised")
    request.fail(error)
