"""Histograms that cost next to nothing say what the client library's would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from servers.histograms import Histograms

BOUNDS = (0.001, 0.01, 0.5, 2.0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 10)), max_size=40))
def test_they_are_what_the_client_library_would_have_counted(seen: list[tuple[str, float]]) -> None:
    """Buckets, counts and sums are the same, amounts on a bound included."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histograms("lucid_x_seconds", "Some time", "op", BOUNDS, ours)
    reference = Histogram("lucid_x_seconds", "Some time", ("op",), buckets=BOUNDS, registry=theirs)
    for value, amount in [*seen, *((value, bound) for value in "ab" for bound in BOUNDS)]:
        mine.observe(value, amount)
        reference.labels(value).observe(amount)
    lines = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
    assert sorted(generate_latest(ours).splitlines()) == sorted(lines)


def test_what_was_never_observed_has_no_samples() -> None:
    """A scrape before the first request shows the name and nothing else."""
    registry = CollectorRegistry()
    Histograms("lucid_x_seconds", "Some time", "op", BOUNDS, registry)
    assert b"_bucket" not in generate_latest(registry)
    assert b"# TYPE lucid_x_seconds histogram" in generate_latest(registry)
