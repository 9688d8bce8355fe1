"""What is counted of a child: which end a restart is charged to, when it counts as down, and what is kept."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launcher.exposition import Histogram
from launcher.running.tallies import Tally, recall_histogram, remember_histogram
from launcher.snapshot import STATES


def event(before: str, after: str, cause: str = "killed") -> Any:
    """A change of state."""
    return {"from": before, "to": after, "cause": cause, "child": "a", "service": "a"}


def crash_and_restart(tally: Tally, at: float) -> None:
    """Ready until `at`, killed, back two seconds later."""
    tally.take(event("ready", "backoff"), at)
    tally.take(event("backoff", "starting", "timer"), at + 0.5)
    tally.take(event("starting", "ready", "probe"), at + 2.0)


def test_a_restart_is_charged_to_the_end_before_it() -> None:
    """The first start is none; after a kill it is the kill, after an own end that."""
    tally = Tally("a")
    tally.take(event("stopped", "starting"), 0.0)
    tally.take(event("starting", "ready"), 1.0)
    crash_and_restart(tally, 10.0)
    tally.take(event("ready", "stopping", "requested"), 20.0)
    tally.take(event("stopping", "starting", "requested"), 20.5)
    assert tally.restarts == {"killed": 1, "requested": 1}


def test_downtime_is_the_time_wanted_and_not_ready() -> None:
    """From the end of ready to the next ready, or to the moment it is stopped; never before the first."""
    tally = Tally("a")
    tally.take(event("stopped", "starting"), 0.0)
    assert tally.downtime_s(5.0) == 0.0
    tally.take(event("starting", "ready"), 5.0)
    crash_and_restart(tally, 10.0)
    assert tally.downtime_s(100.0) == 2.0
    tally.take(event("ready", "stopping"), 100.0)
    assert tally.downtime_s(101.0) == 3.0
    tally.take(event("stopping", "stopped"), 102.0)
    assert tally.downtime_s(1000.0) == 4.0


def test_another_process_goes_on_counting() -> None:
    """In the middle of a downtime, through JSON, nothing is lost or counted twice."""
    tally = Tally("a")
    tally.take(event("starting", "ready"), 1.0)
    tally.take(event("ready", "backoff"), 10.0)
    recalled = Tally.recall(json.loads(json.dumps(tally.remember())))
    recalled.take(event("backoff", "starting"), 12.0)
    recalled.take(event("starting", "ready"), 14.0)
    assert recalled.downtime_s(50.0) == 4.0
    assert recalled.restarts == {"killed": 1}
    assert recalled.to_ready.sum == 2.0


@given(st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from(STATES)), max_size=30))
def test_remembering_changes_nothing(changes: list[tuple[str, str]]) -> None:
    """Whatever happened, what is recalled goes on exactly as what was remembered."""
    tally = Tally("a")
    for number, (before, after) in enumerate(changes):
        tally.take(event(before, after), float(number))
    recalled = Tally.recall(json.loads(json.dumps(tally.remember())))
    assert recalled.remember() == tally.remember()
    assert tally.downtime_s(len(changes)) >= 0.0


def test_other_bounds_are_left_out() -> None:
    """A version with other buckets begins anew, as counts cannot be moved between them."""
    older, newer = Histogram((1.0, 2.0)), Histogram((1.0, 3.0))
    older.observe(1.5)
    recall_histogram(newer, remember_histogram(older))
    assert (newer.counts, newer.sum) == ([0, 0, 0], 0.0)
