"""Counters, windows and the stats payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.readiness import Readiness
from servers.telemetry import LatencyWindow, Telemetry


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The instant."""
        return self.now


def test_an_empty_window_has_no_percentiles() -> None:
    """Unknown is null, never 0."""
    assert LatencyWindow().percentiles() is None


def test_percentiles_are_of_the_last_minute_in_milliseconds() -> None:
    """Old samples leave the window."""
    clock = Clock()
    window = LatencyWindow(clock)
    window.add(9.0)
    clock.now += 61
    for milliseconds in range(1, 101):
        window.add(milliseconds / 1000)
    assert window.percentiles() == {"p50": 51.0, "p99": 100.0}


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_percentiles_are_samples_in_order(samples: list[float]) -> None:
    """p50 never exceeds p99, and both are within what was measured."""
    window = LatencyWindow()
    for seconds in samples:
        window.add(seconds)
    found = window.percentiles()
    assert found is not None
    low, high = round(1000 * min(samples), 3), round(1000 * max(samples), 3)
    assert low <= found["p50"] <= found["p99"] <= high


def test_the_rate_is_the_mean_of_ten_whole_seconds() -> None:
    """The running second does not count yet, and old ones no longer."""
    clock = Clock()
    telemetry = Telemetry("memory", "1", Readiness(), clock=clock)
    for _ in range(20):
        telemetry.record("store", "ok", 0.001)
    assert telemetry.per_second() == 0.0
    clock.now += 1
    assert telemetry.per_second() == 2.0
    clock.now += 10
    assert telemetry.per_second() == 0.0


def test_being_watched_is_no_load() -> None:
    """`stats`, which probes and pages ask all the time, counts as a request but not in the rate."""
    clock = Clock()
    telemetry = Telemetry("memory", "1.0", Readiness(), clock=clock)
    for command in ("stats", "stats", "store"):
        telemetry.record(command, "ok", 0.001)
    clock.now += 1
    assert (telemetry.total, telemetry.per_second()) == (3, 0.1)


def test_the_snapshot_has_the_shared_keys() -> None:
    """The dashboard reads these; what nobody measured is null."""
    clock = Clock()
    readiness = Readiness()
    telemetry = Telemetry("memory", "1.0", readiness, peers={"inference": "ws://localhost:5006"}, clock=clock)
    telemetry.port = 5000
    readiness.ready("cpu")
    telemetry.record("store", "ok", 0.002)
    telemetry.record("store", "invalid_request", 0.004)
    clock.now += 3
    stats = telemetry.snapshot()
    assert stats["requests"] == {"total": 2, "errors": 1, "in_flight": 0, "per_second": 0.2}
    assert stats["latency_ms"] == {
        "total": {"p50": 4.0, "p99": 4.0},
        "queue": None,
        "tokenize": None,
        "infer": None,
    }
    wanted = {
        "service": "memory",
        "version": "1.0",
        "port": 5000,
        "uptime_s": 3.0,
        "phase": "ready",
        "device": "cpu",
    }
    assert wanted.items() <= stats.items()
    assert stats["peers"] == {"inference": "ws://localhost:5006"}


@pytest.mark.parametrize(
    "line",
    [
        'lucid_requests_total{code="ok",op="store"} 1.0',
        'lucid_request_duration_seconds_count{op="store"} 1.0',
        'lucid_build_info{service="memory",version="1.0"} 1.0',
        "lucid_connections 3.0",
        "lucid_service_up 0.0",
    ],
)
def test_metrics_have_their_published_names(line: str) -> None:
    """Boards are built on these lines."""
    telemetry = Telemetry("memory", "1.0", Readiness())
    telemetry.connections = 3
    telemetry.record("store", "ok", 0.002)
    assert line in telemetry.metrics().decode().splitlines()
