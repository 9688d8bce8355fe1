"""The one thread that owns the model: it loads it, takes batches from the backlog, computes, reports.

It decides when a batch is formed (the moment a stream of the engine is free, never by a timer) and when the
engine is lost. Everything it has to say goes to the event loop, in one call per batch. It does not know what
a request is worth to whom: admission, deadlines and replies belong to the loop.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from servers.embedding.batching import Backlog, padded_tokens
from servers.embedding.engine import Engine, EngineBroken, OnPhase, Vectors
from servers.embedding.isolation import Computed, forward_isolated
from servers.embedding.pace import Pace
from servers.embedding.pending import QueuedText
from servers.embedding.running import RunningBatch, RunningBatches, count_streams
from servers.embedding.vectors import normalise

logger = logging.getLogger(__name__)

WARMUP_TEXTS: Final = ("The quick brown fox jumps over the lazy dog. " * 3,) * 8
"""Computed before the engine is called ready, so that the first client does not pay for it."""

WARMUP_SIZES: Final = (8, 1, 8, 1, 8)
"""The first warms the library up; the others tell a batch's fixed cost from that of its tokens."""

_LOWEST_CEILING: Final = 16
_CEILING_GROWTH: Final = 1.05


class LoadAbandoned(Exception):
    """The thread was asked to end while it was still loading."""


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """What one batch came to; instants are `loop.time()`. `raw` and `unit` hold a row for each of `texts`.

    `tokens` counts what was read, `padded_tokens` what was computed, `expired` texts whose deadline had
    passed when the batch began.
    """

    texts: Sequence[QueuedText]
    raw: Vectors
    unit: Vectors
    failures: dict[int, Exception]
    bisections: int
    expired: int
    started_at: float
    finished_at: float
    tokens: int
    padded_tokens: int
    budget_tokens: int
    tokens_per_s: float | None


class Listener(Protocol):
    """Who is told; every method is called on the event loop."""

    def on_loaded(self, engine: Engine, tokens_per_s: float | None) -> None:
        """The engine is loaded and has computed once."""

    def on_batch(self, batch: FinishedBatch) -> None:
        """A batch is done."""

    def on_stopped(self, error: BaseException | None) -> None:
        """The thread has ended: asked to (None), or because of `error`."""


class ModelThread:
    """Runs an engine on a thread of its own, from loading to closing."""

    def __init__(
        self,
        load: Callable[[OnPhase], Engine],
        on_phase: OnPhase,
        listener: Listener,
        *,
        max_batch_tokens: int,
    ) -> None:
        """Prepare to run what `load` returns; `on_phase` and `listener` are called on the running loop."""
        self._load = load
        self._on_phase = on_phase
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._max_batch_tokens = max_batch_tokens
        self._ceiling = float(max_batch_tokens)
        self._pace = Pace()
        self._backlog: Backlog[QueuedText] = Backlog()
        self._changed = threading.Condition()
        self._is_closing = False
        self._busy_since: float | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Start loading."""
        self._thread.start()

    def put(self, texts: Sequence[QueuedText]) -> None:
        """Queue texts, which the thread takes as soon as it is free; may be called from any thread."""
        with self._changed:
            if not self._is_closing:
                self._backlog.put(texts)
                self._changed.notify()

    def close(self) -> None:
        """Ask the thread to end after the batch at hand; what is queued is not computed any more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
            self._backlog.drain()

    @property
    def waiting(self) -> int:
        """How many texts are queued and not yet in a batch."""
        return len(self._backlog)

    def is_alive(self, stall_s: float) -> bool:
        """Tell whether the thread runs and its current batch has not been at it for more than `stall_s`."""
        since = self._busy_since
        is_stalled = since is not None and self._loop.time() - since > stall_s
        return not self._has_ended and not is_stalled

    def _run(self) -> None:
        error: BaseException | None = None
        engine: Engine | None = None
        try:
            engine = self._load(self._tell_phase)
            self._warm_up(engine)
            self._tell(self._listener.on_loaded, engine, self._tokens_per_s(count_streams(engine)))
            self._serve(engine)
        except BaseException as raised:
            # Whatever ends this thread, somebody waits for its answers and must hear of it.
            error = raised
        finally:
            if engine is not None:
                engine.close()
            self._has_ended = True
            self._tell(self._listener.on_stopped, error)

    def _warm_up(self, engine: Engine) -> None:
        self._tell_phase("warmup", 0.9)
        batch = engine.tokenize(WARMUP_TEXTS)
        for texts in WARMUP_SIZES:
            began = self._loop.time()
            computed = forward_isolated(engine, batch[:texts])
            if computed.failures:
                raise EngineBroken("the model cannot embed a plain sentence") from computed.failures[0]
            tokens, seconds = sum(len(each) for each in batch[:texts]), self._loop.time() - began
            if texts != WARMUP_SIZES[0]:
                self._pace.update(tokens, seconds * min(texts, count_streams(engine)))

    def _serve(self, engine: Engine) -> None:
        running = RunningBatches(engine, self._changed)
        while turn := self._next_turn(running):
            batch, ended = turn
            if batch:
                now = self._loop.time()
                running.begin(batch, now, self._budget(now, running.free_streams, batch[0].bulk))
            if ended is not None:
                self._tell(self._listener.on_batch, self._finish(engine, running, ended))
            self._busy_since = running.since

    def _next_turn(self, running: RunningBatches) -> tuple[list[QueuedText], RunningBatch | None] | None:
        """Return a batch to begin and one that has ended, once there is either; None when it is time to end.

        A batch is not formed before a stream is free for it: a text that comes in meanwhile would have to
        wait for a whole batch more.
        """
        with self._changed:
            while True:
                batch = self._form_batch(running.free_streams)
                ended = running.ended()
                if batch or ended is not None:
                    return batch, ended
                if self._is_closing and running.since is None:
                    return None
                self._changed.wait()

    def _form_batch(self, free_streams: int) -> list[QueuedText]:
        while free_streams and not self._is_closing:
            now = self._loop.time()
            # What cannot be ready in time even alone is not begun either.
            soonest = now + self._pace.batch_seconds(1)
            taken = self._backlog.take(partial(self._budget, now, free_streams), partial(_is_wanted, soonest))
            # Two entries of one shared text may be in the same batch; one of them stands for both.
            batch = [text for text in taken if text.shared.take()]
            if batch or not taken:
                return batch
        return []

    def _budget(self, now: float, streams: int, bulk: bool) -> int:
        return self._pace.budget_tokens(int(self._ceiling), bulk=bulk, now=now, streams=streams)

    def _finish(self, engine: Engine, running: RunningBatches, batch: RunningBatch) -> FinishedBatch:
        computed = running.settle(batch)
        if len(computed.failures) == len(batch.texts):
            _prove_alive(engine, computed)
        unit = normalise(computed.vectors)
        finished_at = self._loop.time()
        tokens = sum(text.length for text in batch.texts)
        self._learn(batch, computed, tokens, finished_at)
        return FinishedBatch(
            texts=batch.texts,
            raw=computed.vectors,
            unit=unit,
            failures=computed.failures,
            bisections=computed.bisections,
            expired=sum(text.request.is_expired(batch.started_at) for text in batch.texts),
            started_at=batch.started_at,
            finished_at=finished_at,
            tokens=tokens,
            padded_tokens=padded_tokens(batch.texts),
            budget_tokens=batch.budget_tokens,
            tokens_per_s=self._tokens_per_s(running.streams),
        )

    def _tokens_per_s(self, streams: int) -> float | None:
        of_one = self._pace.tokens_per_s
        return None if of_one is None else of_one * streams

    def _learn(self, batch: RunningBatch, computed: Computed, tokens: int, finished_at: float) -> None:
        seconds = finished_at - batch.started_at
        if not batch.texts[0].bulk:
            self._pace.note_interactive(seconds, finished_at)
        if computed.ran_out_of_memory:
            self._ceiling = max(_LOWEST_CEILING, padded_tokens(batch.texts) / 2)
            logger.warning("the device ran out of memory; batches now have %d tokens", self._ceiling)
            return
        self._ceiling = min(float(self._max_batch_tokens), self._ceiling * _CEILING_GROWTH)
        if not computed.bisections:
            self._pace.update(tokens, seconds * batch.streams)

    def _tell_phase(self, phase: str, progress: float | None) -> None:
        if self._is_closing:
            raise LoadAbandoned
        self._tell(self._on_phase, phase, progress)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            # The loop is closed: the process is on its way out and nobody is left to be told.
            logger.debug("the event loop is closed; %s is not told", what)


def _prove_alive(engine: Engine, computed: Computed) -> None:
    """Tell a bad text from a lost engine: if a plain sentence fails too, it is the engine."""
    canary = forward_isolated(engine, engine.tokenize(WARMUP_TEXTS[:1]))
    if canary.failures:
        raise EngineBroken("nothing can be computed any more") from computed.failures[0]


def _is_wanted(soonest: float, text: QueuedText) -> bool:
    return text.is_wanted(soonest)
