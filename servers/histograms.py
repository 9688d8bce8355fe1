"""Histograms for what is observed with every request: Prometheus's, without its locks.

Measured: the client library's `observe` costs several microseconds, and a request was observed five times,
which was a tenth of what the whole front end spends on it.  Used from the event loop only, which also answers
the scrapes.  Does not know what is measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

__all__ = ["Histograms"]


class Histograms(Collector):
    """One histogram per value of a label; `buckets` are upper bounds, ascending, without infinity."""

    def __init__(
        self, name: str, text: str, label: str, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._text, self._label = name, text, label
        self._bounds = tuple(buckets)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def observe(self, value: str, amount: float) -> None:
        """Counts one `amount` under the label's `value`."""
        counts = self._counts.get(value)
        if counts is None:
            counts = self._counts[value] = [0] * (len(self._bounds) + 1)
            self._sums[value] = 0.0
        counts[bisect_left(self._bounds, amount)] += 1
        self._sums[value] += amount

    def describe(self) -> list[HistogramMetricFamily]:
        """The family without samples, as the registry asks on registration."""
        return [HistogramMetricFamily(self._name, self._text, labels=[self._label])]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The counts so far."""
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        for value, counts in self._counts.items():
            buckets: list[tuple[str, float]] = []
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([value], buckets=buckets, sum_value=self._sums[value])
        yield family
