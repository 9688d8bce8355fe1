"""The batches that are being computed, and whether there is room for another one.

It decides that a batch may begin as soon as one stream of the engine has nothing to do, rather than when the
whole batch before it has ended: streams that end sooner than others would idle, and so would all of them
while one batch is handed out and the next one formed. Used on the model thread, but for `free_stream`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from servers.embedding.engine import Begun, Engine, OverlappingEngine
from servers.embedding.isolation import Computed, forward_isolated
from servers.embedding.pending import QueuedText


@dataclass(frozen=True, slots=True, eq=False)
class RunningBatch:
    """A batch that has begun; `begun` is None where the engine computes on demand."""

    texts: Sequence[QueuedText]
    started_at: float
    budget_tokens: int
    begun: Begun | None

    @property
    def streams(self) -> int:
        """On how many streams it is computed."""
        return self.begun.streams if self.begun else 1

    def is_done(self) -> bool:
        """Tell whether it costs nothing to wait for it, or waiting for it is what computes it."""
        return self.begun is None or self.begun.is_done()


def count_streams(engine: Engine) -> int:
    """Return how many parts of batches an engine computes at once."""
    return engine.streams if isinstance(engine, OverlappingEngine) else 1


class RunningBatches:
    """What one engine computes just now, oldest first."""

    def __init__(self, engine: Engine, changed: threading.Condition) -> None:
        """Nothing yet; `changed` is notified whenever a stream becomes free."""
        self._engine = engine
        self._overlapping = engine if isinstance(engine, OverlappingEngine) else None
        self._changed = changed
        self._batches: list[RunningBatch] = []
        self.streams = count_streams(engine)
        self.free_streams = self.streams

    @property
    def since(self) -> float | None:
        """When the oldest of them began; None if there is none."""
        return self._batches[0].started_at if self._batches else None

    def begin(self, texts: Sequence[QueuedText], now: float, budget_tokens: int) -> None:
        """Begin a batch on the streams that are free, of which there must be one."""
        with self._changed:
            streams, self.free_streams = self.free_streams, 0
        begun = None
        if self._overlapping is not None:
            begun = self._overlapping.begin([text.tokens for text in texts], streams, self.free_stream)
        self._batches.append(RunningBatch(texts, now, budget_tokens, begun))

    def free_stream(self) -> None:
        """Note that a stream has nothing more to do; may be called on any thread."""
        with self._changed:
            self.free_streams += 1
            self._changed.notify()

    def ended(self) -> RunningBatch | None:
        """Return the oldest batch that is done, if any."""
        return next((batch for batch in self._batches if batch.is_done()), None)

    def settle(self, batch: RunningBatch) -> Computed:
        """Return what became of a batch, which is at an end then."""
        computed = forward_isolated(self._engine, [text.tokens for text in batch.texts], batch.begun)
        self._batches.remove(batch)
        if batch.begun is None:
            self.free_stream()
        return computed
