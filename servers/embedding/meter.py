"""What the embedding worker counts about itself, for `stats` and for `/metrics`.

It decides the names of the figures (protocol.md section 5, `stats`). It measures nothing itself: instants and
counts are given to it, on the event loop only.
"""

from collections import Counter as Counting
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from servers.embedding.embedded import Timing
from servers.embedding.model_thread import FinishedBatch
from servers.histograms import Histograms
from servers.telemetry import LatencyWindow

_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BUCKETS_TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BUCKETS_TOKENS: Final = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536)
_BUCKETS_SHARE: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


class Meter:
    """Counters and 60 s windows of one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the worker's metrics in `registry`, which must not have them yet."""
        self.texts = 0
        self.tokens = 0
        self.padding = 0
        self.batches = 0
        self.queue = LatencyWindow()
        self.tokenize = LatencyWindow()
        self.infer = LatencyWindow()
        self._last: FinishedBatch | None = None
        self._dropped: Counting[str] = Counting()
        self._register_counters(registry)
        self._register_histograms(registry)

    def _register_counters(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"lucid_embedding_{name}", text, registry=registry)

        self._texts_total = counter("texts", "Texts embedded")
        self._tokens_total = counter("tokens", "Tokens computed, no padding")
        self._padding_total = counter("padding_tokens", "Tokens computed only as padding")
        self._failures_total = counter("failures", "Texts that the model could not embed")
        self._bisections_total = counter("bisections", "Parts of batches computed again in halves")
        self._expired_total = counter(
            "expired_computed_texts", "Texts whose computing began after their deadline"
        )
        self._dropped_total = Counter(
            "lucid_embedding_dropped",
            "Requests without vectors, by reason: overloaded, deadline_exceeded, cancelled, too_large, …",
            ("reason",),
            registry=registry,
        )

    def _register_histograms(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"lucid_embedding_{name}", text, buckets=buckets, registry=registry)

        self._stages = Histograms(
            "lucid_embedding_stage_seconds",
            "Time of a request in each stage, and in total",
            "stage",
            _BUCKETS_S,
            registry,
        )
        self._batch_texts = histogram("batch_texts", "Texts in a batch", _BUCKETS_TEXTS)
        self._batch_tokens = histogram("batch_tokens", "Tokens in a batch, no padding", _BUCKETS_TOKENS)
        self._batch_fill = histogram(
            "batch_fill", "Share of the budget used, padding included", _BUCKETS_SHARE
        )
        self._batch_waste = histogram("batch_waste", "Share of a batch that is padding", _BUCKETS_SHARE)

    def count_batch(self, batch: FinishedBatch) -> None:
        """Take one finished batch into account; before its vectors are handed out."""
        tokens = batch.tokens
        embedded = len(batch.texts) - len(batch.failures)
        self.batches += 1
        self.texts += embedded
        self.tokens += tokens
        self.padding += batch.padded_tokens - tokens
        self._last = batch
        self._texts_total.inc(embedded)
        self._tokens_total.inc(tokens)
        self._padding_total.inc(batch.padded_tokens - tokens)
        self._failures_total.inc(len(batch.failures))
        self._bisections_total.inc(batch.bisections)
        self._expired_total.inc(batch.expired)
        self._batch_texts.observe(len(batch.texts))
        self._batch_tokens.observe(tokens)
        self._batch_fill.observe(_fill(batch))
        self._batch_waste.observe(1.0 - tokens / batch.padded_tokens)

    def count_request(self, timing: Timing, total_s: float) -> None:
        """Take one answered request's stages into account."""
        self.queue.add(timing.queue_s)
        self.tokenize.add(timing.tokenize_s)
        self.infer.add(timing.infer_s)
        self._stages.observe("queue", timing.queue_s)
        self._stages.observe("tokenize", timing.tokenize_s)
        self._stages.observe("infer", timing.infer_s)
        self._stages.observe("total", total_s)

    def count_dropped(self, reason: str) -> None:
        """Count a request that got no vectors under the code that it was refused with."""
        self._dropped_total.labels(reason).inc()
        self._dropped[reason] += 1

    def latency_ms(self) -> dict[str, Any]:
        """Return p50 and p99 of queue, tokenize and infer in milliseconds (None: nothing in the window)."""
        return {
            "queue": self.queue.percentiles(),
            "tokenize": self.tokenize.percentiles(),
            "infer": self.infer.percentiles(),
        }

    def dropped(self) -> dict[str, int]:
        """Return how many requests got no vectors, by the code that they were refused with."""
        return dict(self._dropped)

    def batch(self) -> dict[str, Any]:
        """Return the number of batches, their mean size, the share of padding, and what the last one was."""
        last = self._last
        return {
            "count": self.batches,
            "mean_texts": round(self.texts / self.batches, 3) if self.batches else None,
            "last_texts": len(last.texts) if last else None,
            "last_tokens": last.tokens if last else None,
            "fill": round(_fill(last), 4) if last else None,
            "padding": round(self.padding / (self.tokens + self.padding), 4) if self.tokens else None,
            "tokens_per_s": round(last.tokens_per_s) if last and last.tokens_per_s else None,
        }


def _fill(batch: FinishedBatch) -> float:
    return min(1.0, batch.padded_tokens / batch.budget_tokens)
