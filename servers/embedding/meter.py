"""What the embedding worker counts about itself, for `stats` and for `/metrics`.

It decides the names of the figures (protocol.md section 5, `stats`). It measures nothing itself: instants and
counts are given to it, on the event loop only.
"""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from servers.embedding.model_thread import FinishedBatch
from servers.telemetry import LatencyWindow

_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BUCKETS_TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BUCKETS_SHARE: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


class Meter:
    """Counters and 60 s windows of one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the worker's metrics in `registry`, which must not have them yet."""
        self.texts = 0
        self.tokens = 0
        self.batches = 0
        self.queue = LatencyWindow()
        self.tokenize = LatencyWindow()
        self.infer = LatencyWindow()
        self._last: FinishedBatch | None = None
        self._register_counters(registry)
        self._register_histograms(registry)

    def _register_counters(self, registry: CollectorRegistry) -> None:
        self._texts_total = Counter("lucid_embedding_texts", "Texts embedded", registry=registry)
        self._tokens_total = Counter("lucid_embedding_tokens", "Tokens, no padding", registry=registry)
        self._padding_total = Counter(
            "lucid_embedding_padding_tokens", "Tokens computed only as padding", registry=registry
        )
        self._failures_total = Counter(
            "lucid_embedding_failures", "Texts that the model could not embed", registry=registry
        )
        self._dropped_total = Counter(
            "lucid_embedding_dropped", "Requests without vectors", ("reason",), registry=registry
        )

    def _register_histograms(self, registry: CollectorRegistry) -> None:
        self._stages = Histogram(
            "lucid_embedding_stage_seconds",
            "Time of a request in each stage",
            ("stage",),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._batch_texts = Histogram(
            "lucid_embedding_batch_texts", "Texts in a batch", buckets=_BUCKETS_TEXTS, registry=registry
        )
        self._batch_fill = Histogram(
            "lucid_embedding_batch_fill",
            "Share of the budget used",
            buckets=_BUCKETS_SHARE,
            registry=registry,
        )

    def count_batch(self, batch: FinishedBatch) -> None:
        """Take one finished batch into account."""
        tokens = sum(text.length for text in batch.texts)
        self.batches += 1
        self.texts += len(batch.texts) - len(batch.failures)
        self.tokens += tokens
        self._last = batch
        self._texts_total.inc(len(batch.texts) - len(batch.failures))
        self._tokens_total.inc(tokens)
        self._padding_total.inc(batch.padded_tokens - tokens)
        self._failures_total.inc(len(batch.failures))
        self._batch_texts.observe(len(batch.texts))
        self._batch_fill.observe(_fill(batch))

    def count_request(self, queue_s: float, tokenize_s: float, infer_s: float) -> None:
        """Take one answered request's stages into account."""
        for name, window, seconds in (
            ("queue", self.queue, queue_s),
            ("tokenize", self.tokenize, tokenize_s),
            ("infer", self.infer, infer_s),
        ):
            window.add(seconds)
            self._stages.labels(name).observe(seconds)

    def count_dropped(self, reason: str) -> None:
        """Count a request that got no vectors: overloaded, cancelled, deadline or failed."""
        self._dropped_total.labels(reason).inc()

    def latency_ms(self) -> dict[str, Any]:
        """Return p50 and p99 of queue, tokenize and infer in milliseconds (None: nothing in the window)."""
        return {
            "queue": self.queue.percentiles(),
            "tokenize": self.tokenize.percentiles(),
            "infer": self.infer.percentiles(),
        }

    def batch(self) -> dict[str, Any]:
        """Return the number of batches, their mean size, and size and fill (0…1) of the last one."""
        last = self._last
        return {
            "count": self.batches,
            "mean_texts": round(self.texts / self.batches, 3) if self.batches else None,
            "last_texts": len(last.texts) if last else None,
            "fill": round(_fill(last), 4) if last else None,
            "tokens_per_s": round(last.tokens_per_s) if last and last.tokens_per_s else None,
        }


def _fill(batch: FinishedBatch) -> float:
    return min(1.0, batch.padded_tokens / batch.budget_tokens)
