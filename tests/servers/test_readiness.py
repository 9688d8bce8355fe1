"""From the first phase to the drain."""

from __future__ import annotations

import logging

import pytest

from servers.logs import PhaseLog
from servers.readiness import Readiness


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The instant."""
        return self.now


def test_phases_decide_between_model_and_store() -> None:
    """A request is told what it waits for."""
    readiness = Readiness()
    assert readiness.loading_error().code == "model_loading"
    readiness.enter("open-store", 0.5)
    error = readiness.loading_error()
    assert error.code == "store_opening"
    assert error.details == {"phase": "open-store", "progress": 0.5}
    assert "50%" in error.text


@pytest.mark.parametrize(
    ("progress", "elapsed_s", "expected_s"),
    [
        (None, 9.0, 1.0),
        (0.0, 9.0, 1.0),
        (0.5, 4.0, 4.0),
        (0.99, 1.0, 0.5),
        (0.01, 60.0, 30.0),
        (1.0, 5.0, 1.0),
    ],
)
def test_when_to_ask_again_follows_the_progress(
    progress: float | None, elapsed_s: float, expected_s: float
) -> None:
    """What the phase took so far predicts the rest, between half a second and thirty."""
    clock = Clock()
    readiness = Readiness(clock)
    readiness.enter("load-model", progress)
    clock.now += elapsed_s
    assert readiness.retry_after_s() == pytest.approx(expected_s)


def test_progress_within_a_phase_keeps_its_start() -> None:
    """Only a new phase starts a new prediction."""
    clock = Clock()
    readiness = Readiness(clock)
    readiness.enter("load-model", 0.1)
    clock.now += 2
    readiness.enter("load-model", 0.5)
    assert readiness.retry_after_s() == pytest.approx(2.0)


def test_subscribers_see_every_change() -> None:
    """Phase, ready, failure and drain, in order."""
    readiness, seen = Readiness(), list[str]()
    readiness.subscribe(lambda now: seen.append(f"{now.phase} {now.is_ready}"))
    readiness.enter("import")
    readiness.ready("cpu")
    readiness.fail("dead")
    readiness.fail("dead again")
    readiness.drain()
    assert seen == ["import False", "ready True", "failed False", "failed False"]


def test_a_failure_is_internal_with_one_incident() -> None:
    """All refused requests point at the same log line."""
    readiness = Readiness()
    readiness.ready()
    readiness.fail("The worker has died")
    first, second = readiness.loading_error(), readiness.loading_error()
    assert first.code == "internal"
    assert "The worker has died" in first.text
    assert first.details == second.details


def test_a_drain_is_final() -> None:
    """A load that ends during the drain does not make the server ready."""
    readiness = Readiness()
    readiness.drain()
    readiness.ready("cpu")
    assert not readiness.is_ready
    assert readiness.is_draining


def test_the_log_has_one_line_per_phase(caplog: pytest.LogCaptureFixture) -> None:
    """Progress does not flood it."""
    caplog.set_level(logging.INFO, "lucid")
    readiness = Readiness()
    readiness.subscribe(PhaseLog("memory"))
    for progress in (0.1, 0.2, 0.3):
        readiness.enter("load-model", progress)
    readiness.ready("cpu")
    assert [record.getMessage() for record in caplog.records] == [
        "the memory server: load-model",
        "the memory server: ready on cpu",
    ]
