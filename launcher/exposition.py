"""Figures as Prometheus reads them: families of samples, histograms, the text format 0.0.4.

Pure, and small on purpose: a client library would cost the supervisor more memory than all its children's
states. Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["CONTENT_TYPE", "Family", "Histogram", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Histogram:
    """Observed values counted by upper bounds; the bounds are ascending, infinity is implied."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Nothing is observed yet."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass
class Family:
    """One metric: what it means, and its samples as (suffix of the name, labels, value)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

    def add(self, labels: Labels, value: float | None) -> None:
        """Add a sample; what is unknown is left out, never 0."""
        if value is not None:
            self.samples.append(("", labels, value))

    def add_histogram(self, labels: Labels, histogram: Histogram) -> None:
        """Add the cumulative buckets, sum and count of `histogram`."""
        total = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            self.samples.append(("_bucket", {**labels, "le": _number(bound)}, total))
        self.samples.append(("_sum", labels, histogram.sum))
        self.samples.append(("_count", labels, total))


def render(families: Iterable[Family]) -> str:
    """Return the families in text format; those without samples are left out."""
    return "".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.meaning)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        told = ",".join(f'{name}="{_escaped(text, quotes=True)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{f'{{{told}}}' if told else ''} {_number(value)}\n"


def _escaped(text: str, *, quotes: bool = False) -> str:
    shown = text.replace("\\", "\\\\").replace("\n", "\\n")
    return shown.replace('"', '\\"') if quotes else shown


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
