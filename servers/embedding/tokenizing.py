"""The stage before the queue: texts become tokens off the event loop, those of many requests at once.

It decides what is tokenised together: whatever has come in by the time a thread is free, at most a chunk, so
that a single text waits for no other request's thousands. It does not know what becomes of the tokens.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from servers.embedding.embedded import refuse_cut_texts
from servers.embedding.engine import Engine, Tokens
from servers.embedding.pending import PendingRequest, QueuedText

THREADS: Final = 2
"""The library runs without the interpreter lock and uses more cores of its own for large chunks."""

CHUNK_TEXTS: Final = 64
"""Tokenised at a time: a few milliseconds of long texts."""


class TokenListener(Protocol):
    """Who is told; every method is called on a tokenizer thread."""

    def on_tokens(self, entries: Sequence[QueuedText]) -> None:
        """These texts are ready for the queue."""

    def on_tokenized(self, request: PendingRequest) -> None:
        """All texts of a request have their tokens; called before the last of them is ready for the queue."""

    def on_refused(self, request: PendingRequest, error: Exception) -> None:
        """A request cannot be served, because of its texts or of a failing tokenizer."""


@dataclass(slots=True)
class _Part:
    """The texts of a request from `start` up to `stop`."""

    request: PendingRequest
    start: int
    stop: int


class TokenizingStage:
    """A few threads that tokenise; `put` may be called from any thread."""

    def __init__(self, engine: Engine, listener: TokenListener) -> None:
        """Start the threads."""
        self._engine = engine
        self._listener = listener
        self._queue: SimpleQueue[_Part | None] = SimpleQueue()
        self._is_closing = self._has_ended = False
        self._threads = [
            threading.Thread(target=self._run, name=f"tokenize-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, request: PendingRequest) -> None:
        """Tokenise the texts of a request as soon as a thread is free."""
        self._queue.put(_Part(request, 0, len(request.texts)))

    def close(self) -> None:
        """End the threads after their current chunk; what is queued is not tokenised any more."""
        self._is_closing = True
        for _ in self._threads:
            self._queue.put(None)

    def is_alive(self) -> bool:
        """Tell whether every thread runs; asked with every request."""
        return not self._has_ended

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._has_ended = True

    def _serve(self) -> None:
        while parts := self._next_chunk():
            last = parts[-1]
            cut = _Part(last.request, last.start, min(last.stop, last.start + self._room_of_last(parts)))
            self._tokenize([part for part in (*parts[:-1], cut) if not part.request.is_departed])
            if cut.stop < last.stop and not last.request.is_departed:
                # Only now, so that a request's texts stay in order; behind what has come in meanwhile.
                self._queue.put(_Part(last.request, cut.stop, last.stop))

    def _next_chunk(self) -> list[_Part]:
        """Return parts that fill a chunk, the last perhaps more; an empty list when it is time to end."""
        parts: list[_Part] = []
        size = 0
        while size < CHUNK_TEXTS and not self._is_closing:
            try:
                part = self._queue.get(block=not parts)
            except Empty:
                break
            if part is None:
                break
            parts.append(part)
            size += part.stop - part.start
        return [] if self._is_closing else parts

    @staticmethod
    def _room_of_last(parts: Sequence[_Part]) -> int:
        return CHUNK_TEXTS - sum(part.stop - part.start for part in parts[:-1])

    def _tokenize(self, parts: Sequence[_Part]) -> None:
        texts = [text for part in parts for text in part.request.texts[part.start : part.stop]]
        if not texts:
            return
        try:
            tokens = iter(self._engine.tokenize(texts))
        except Exception as error:
            # Whatever the library raises, the requests of this chunk have no tokens and must hear of it.
            for part in parts:
                self._listener.on_refused(part.request, error)
            return
        entries: list[QueuedText] = []
        for part in parts:
            entries += self._entries(part, [next(tokens) for _ in range(part.start, part.stop)])
        if entries:
            self._listener.on_tokens(entries)

    def _entries(self, part: _Part, tokens: list[Tokens]) -> list[QueuedText]:
        """Return what can be queued now: with `truncate=False` nothing before every text is known to fit."""
        request = part.request
        request.tokens += tokens
        is_whole = part.stop == len(request.texts)
        if is_whole:
            self._listener.on_tokenized(request)
        if request.truncate:
            return _queued(request, part.start, part.stop)
        if not is_whole:
            return []
        try:
            refuse_cut_texts(request.tokens, self._engine.info.max_input_tokens)
        except Exception as error:
            self._listener.on_refused(request, error)
            return []
        return _queued(request, 0, part.stop)


def _queued(request: PendingRequest, start: int, stop: int) -> list[QueuedText]:
    shared = request.shared
    return [QueuedText(request.tokens[place], request, shared[place]) for place in range(start, stop)]
