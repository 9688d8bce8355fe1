"""The one thread that owns the model: it loads it, takes batches from the backlog, computes, reports.

It decides when a batch is formed (the moment the thread is free, never by a timer) and when the engine is
lost. Everything it has to say goes to the event loop, in one call per batch. It does not know what a
request is worth to whom: admission, deadlines and replies belong to the loop.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from servers.embedding.batching import Backlog, Throughput, budget_tokens, padded_tokens
from servers.embedding.engine import Engine, EngineBroken, OnPhase
from servers.embedding.isolation import Computed, forward_isolated
from servers.embedding.pending import PendingText, is_wanted
from servers.embedding.vectors import normalise

logger = logging.getLogger(__name__)

WARMUP_TEXTS: Final = ("The quick brown fox jumps over the lazy dog. " * 3,) * 8
"""Computed once before the engine is called ready, so that the first client does not pay for it."""

_LOWEST_CEILING: Final = 16
_CEILING_GROWTH: Final = 1.05


class LoadAbandoned(Exception):
    """The thread was asked to end while it was still loading."""


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """What one batch came to; instants are `loop.time()`. Rows of requests are already filled in."""

    texts: Sequence[PendingText]
    failures: dict[int, Exception]
    started_at: float
    finished_at: float
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
        self._throughput = Throughput()
        self._backlog: Backlog[PendingText] = Backlog()
        self._changed = threading.Condition()
        self._is_closing = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Start loading."""
        self._thread.start()

    def put(self, texts: Sequence[PendingText]) -> None:
        """Queue texts, which the thread takes as soon as it is free."""
        with self._changed:
            for text in texts:
                self._backlog.put(text)
            self._changed.notify()

    def close(self) -> list[PendingText]:
        """Ask the thread to end after the batch at hand; return what it will not compute any more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
            return self._backlog.drain()

    @property
    def waiting(self) -> int:
        """How many texts are queued and not yet in a batch."""
        return len(self._backlog)

    def is_alive(self, stall_s: float) -> bool:
        """Tell whether the thread runs and its current batch has not been at it for more than `stall_s`."""
        since = self._busy_since
        is_stalled = since is not None and self._loop.time() - since > stall_s
        return self._thread.is_alive() and not is_stalled

    def _run(self) -> None:
        error: BaseException | None = None
        engine: Engine | None = None
        try:
            engine = self._load(self._tell_phase)
            self._warm_up(engine)
            self._tell(self._listener.on_loaded, engine, self._throughput.tokens_per_s)
            self._serve(engine)
        except BaseException as raised:
            # Whatever ends this thread, somebody waits for its answers and must hear of it.
            error = raised
        finally:
            if engine is not None:
                engine.close()
            self._tell(self._listener.on_stopped, error)

    def _warm_up(self, engine: Engine) -> None:
        self._tell_phase("warmup", 0.9)
        batch = engine.tokenize(WARMUP_TEXTS)
        for _ in range(2):
            began = self._loop.time()
            computed = forward_isolated(engine, batch)
            if computed.failures:
                raise EngineBroken("the model cannot embed a plain sentence") from computed.failures[0]
            seconds = self._loop.time() - began
        self._throughput.update(sum(len(tokens) for tokens in batch), seconds)

    def _serve(self, engine: Engine) -> None:
        while batch := self._next_batch():
            self._busy_since = self._loop.time()
            finished = self._compute(engine, batch, self._busy_since)
            self._busy_since = None
            self._tell(self._listener.on_batch, finished)

    def _next_batch(self) -> list[PendingText]:
        """Return the next batch once there is one; an empty list when the thread shall end."""
        with self._changed:
            while not self._is_closing:
                batch = self._backlog.take(self._budget(), is_wanted)
                if batch:
                    return batch
                self._changed.wait()
            return []

    def _budget(self) -> int:
        return budget_tokens(self._throughput.tokens_per_s, int(self._ceiling))

    def _compute(self, engine: Engine, batch: list[PendingText], started_at: float) -> FinishedBatch:
        budget = self._budget()
        computed = forward_isolated(engine, [text.tokens for text in batch])
        if len(computed.failures) == len(batch):
            _prove_alive(engine, computed)
        finished_at = self._loop.time()
        _fill_rows(batch, computed)
        self._learn(batch, computed, finished_at - started_at)
        return FinishedBatch(
            texts=batch,
            failures=computed.failures,
            started_at=started_at,
            finished_at=finished_at,
            padded_tokens=padded_tokens(batch),
            budget_tokens=budget,
            tokens_per_s=self._throughput.tokens_per_s,
        )

    def _learn(self, batch: list[PendingText], computed: Computed, seconds: float) -> None:
        if computed.ran_out_of_memory:
            self._ceiling = max(_LOWEST_CEILING, padded_tokens(batch) / 2)
            logger.warning("the device ran out of memory; batches now have %d tokens", self._ceiling)
            return
        self._ceiling = min(float(self._max_batch_tokens), self._ceiling * _CEILING_GROWTH)
        self._throughput.update(sum(text.length for text in batch), seconds)

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


def _fill_rows(batch: Sequence[PendingText], computed: Computed) -> None:
    unit = normalise(computed.vectors)
    for row, text in enumerate(batch):
        source = unit if text.request.normalize else computed.vectors
        text.request.vectors[text.place] = source[row]
