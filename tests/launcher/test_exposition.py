"""launcher.exposition, read back by the parser of Prometheus' own client."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from launcher.exposition import Family, Histogram, render


def test_a_histogram_is_cumulative() -> None:
    """A value on a bound belongs to it; the last bucket holds all."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    family = Family("t_seconds", "histogram", "Times")
    family.add_histogram({"a": "b"}, histogram)
    (read,) = text_string_to_metric_families(render([family]))
    assert [(s.labels.get("le"), s.value) for s in read.samples if s.name == "t_seconds_bucket"] == [
        ("0.1", 2),
        ("1", 3),
        ("+Inf", 4),
    ]
    assert {s.name: s.value for s in read.samples}["t_seconds_count"] == 4


def test_what_is_unknown_is_left_out() -> None:
    """No sample, no family; never a 0 for what nobody knows."""
    family = Family("x", "gauge", "X")
    family.add({}, None)
    assert render([family]) == ""


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_survives_as_a_label(meaning: str, label: str, value: float) -> None:
    """Quotes, backslashes and newlines come back as they were."""
    family = Family("x", "gauge", meaning.replace("\r", ""))
    family.add({"name": label}, value)
    lines = render([family]).split("\n")
    (sample,) = [line for line in lines if line and not line.startswith("#")]
    assert len(lines) == 4
    quoted = sample[len('x{name="') : sample.rindex('"} ')]
    meant = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted, flags=re.DOTALL)
    assert meant == label
    assert float(sample.rpartition(" ")[2]) == value
