"""launcher.running.ordering, orders and change_text: who starts and stops when, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.needs import with_dependencies
from launcher.lifecycle_values import (
    Child,
    DependenciesMet,
    Event,
    GroupEmptied,
    LimitExceeded,
    ProbeFailed,
    RestartRequested,
    Rules,
    StartRequested,
    StopRequested,
    TimerFired,
)
from launcher.restart_policy import Outcome
from launcher.running.change_text import cause_of, describe_change
from launcher.running.ordering import Seen, free_to_stop, missing_dependencies
from launcher.running.orders import Needs, Orders
from launcher.snapshot import State

UP = Child(Rules(), state="ready", desired_up=True, generation=1, pid=7)
DOWN = Child(Rules())


def test_started_and_ready_are_different_conditions() -> None:
    """A starting process is started, a ready one both, an unhealthy one is no longer ready."""
    assert Seen("starting", True).satisfies("started")
    assert not Seen("starting", False).satisfies("started")
    assert not Seen("starting", True).satisfies("ready")
    assert Seen("ready", True).satisfies("ready")
    assert not Seen("unhealthy", True).satisfies("ready")


def test_a_program_that_has_done_its_work_is_as_good_as_ready() -> None:
    """Stopped and still wanted: it ended well. Stopped by request, failed, or never started: it did not."""
    done = Seen.of(replace(UP, state="stopped", pid=None))
    assert done.satisfies("ready")
    assert done.satisfies("started")
    for life in (DOWN, replace(UP, state="stopped", desired_up=False), replace(UP, state="failed", pid=None)):
        assert not Seen.of(life).satisfies("ready")
        assert not Seen.of(life).satisfies("started")
    assert Seen.of(UP).satisfies("ready")


def test_every_replica_counts() -> None:
    """A dependency is met when all its children are; one that does not exist is missing."""
    seen = {"a": [Seen("ready", True), Seen("starting", True)], "b": [Seen("ready", True)]}
    assert missing_dependencies({"b": "ready", "a": "ready", "c": "started"}, seen) == ["a", "c"]


@given(st.sets(st.integers(0, 7)), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_stopping_always_ends_and_never_pulls_a_rug(pending: set[int], edges: list[tuple[int, int]]) -> None:
    """Over any graph without cycles, all that is pending stops, and nothing before what needs it."""
    needs = {str(high): {str(low) for top, low in edges if top == high and low < top} for high in range(8)}
    names = {str(number) for number in pending}
    at_rest: set[str] = set()
    while names - at_rest:
        free = free_to_stop(names, needs, at_rest) - at_rest
        assert free
        for service in free:
            assert not any(service in needs[other] for other in names - at_rest - {service})
        at_rest |= free


def test_dependencies_come_along() -> None:
    """Starting one service means starting what it needs, and what that needs."""
    assert with_dependencies(["c"], {"c": ["b"], "b": ["a"], "d": ["a"]}) == {"a", "b", "c"}


def test_orders_stop_dependents_first() -> None:
    """What is needed is asked to stop only once its dependents are at rest."""
    orders = Orders()
    orders.stop(["a", "b"])
    needs = {"a": Needs({}), "b": Needs({"a": "ready"})}
    assert orders.due({"a": {"a": UP}, "b": {"b": UP}}, needs) == [("b", StopRequested())]
    asked = replace(UP, state="stopping", desired_up=False)
    assert orders.due({"a": {"a": UP}, "b": {"b": asked}}, needs) == []
    assert orders.due({"a": {"a": UP}, "b": {"b": DOWN}}, needs) == [("a", StopRequested())]
    assert orders.due({"a": {"a": DOWN}, "b": {"b": DOWN}}, needs) == []


def test_orders_forget_a_stop_that_is_taken_back() -> None:
    """A start in the middle of a stop wins."""
    orders = Orders()
    orders.stop(["a"])
    orders.keep(["a"])
    assert orders.due({"a": {"a": UP}}, {}) == []


def test_orders_roll_one_by_one() -> None:
    """The next replica is restarted when the one before is ready again, and not at all when it fails."""
    orders = Orders()
    assert orders.roll("a", {"a.0": UP, "a.1": UP}) == [("a.0", RestartRequested())]
    assert orders.due({"a": {"a.0": replace(UP, state="stopping"), "a.1": UP}}, {}) == []
    again = replace(UP, generation=2)
    assert orders.due({"a": {"a.0": again, "a.1": UP}}, {}) == [("a.1", RestartRequested())]
    assert orders.due({"a": {"a.0": again, "a.1": again}}, {}) == []
    orders.roll("a", {"a.0": again, "a.1": again})
    failed = replace(again, state="failed", generation=3)
    assert orders.due({"a": {"a.0": failed, "a.1": again}}, {}) == []
    assert orders.due({"a": {"a.0": replace(failed, state="ready"), "a.1": again}}, {}) == []


def test_a_rolling_restart_that_fails_is_told_until_the_next_one() -> None:
    """Where it ended is known, so that nobody believes that all were restarted."""
    orders = Orders()
    children = {"a.0": UP, "a.1": UP}
    orders.roll("a", children)
    assert orders.is_rolling("a")
    failed = replace(UP, state="failed", generation=2)
    assert orders.due({"a": {"a.0": failed, "a.1": UP}}, {}) == []
    assert (orders.broken_off, orders.is_rolling("a")) == ({"a": "a.0"}, False)
    assert orders.roll("a", {"a.0": failed, "a.1": UP}) == [("a.0", RestartRequested())]
    assert orders.broken_off == {}


def test_who_is_not_ready_is_restarted_first_and_all_at_once_when_nobody_is() -> None:
    """What does not serve has nothing to lose."""
    down = replace(UP, state="unhealthy")
    assert Orders().roll("a", {"a.0": UP, "a.1": down}) == [("a.1", RestartRequested())]
    asked = Orders().roll("a", {"a.0": down, "a.1": down})
    assert asked == [("a.0", RestartRequested()), ("a.1", RestartRequested())]


def test_a_follower_restarts_once_what_it_follows_is_back() -> None:
    """Not while that is down, once for each new generation, and not when it started after it anyway."""
    orders = Orders()
    needs = {"b": Needs({"a": "ready"}, {"a"}), "c": Needs({"a": "ready"})}
    others = {"b": {"b": UP}, "c": {"c": UP}}
    again = replace(UP, generation=2)
    assert orders.due({"a": {"a": UP}, **others}, needs) == []
    assert orders.due({"a": {"a": replace(again, state="starting")}, **others}, needs) == []
    assert orders.due({"a": {"a": again}, **others}, needs) == [("b", RestartRequested())]
    assert orders.due({"a": {"a": again}, **others}, needs) == []
    later = replace(UP, generation=3)
    waiting = {"b": {"b": replace(UP, state="waiting", pid=None)}}
    assert orders.due({"a": {"a": later}, **waiting}, needs) == [("b", DependenciesMet())]
    assert orders.due({"a": {"a": later}, "b": {"b": UP}}, needs) == []


def test_orders_release_who_waits() -> None:
    """A waiting child is told once what it needs is there."""
    waiting = replace(UP, state="waiting", pid=None)
    needs = {"b": Needs({"a": "ready"})}
    starting = replace(UP, state="starting")
    assert Orders().due({"a": {"a": starting}, "b": {"b": waiting}}, needs) == []
    assert Orders().due({"a": {"a": UP}, "b": {"b": waiting}}, needs) == [("b", DependenciesMet())]


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_a_sentence(state: State) -> None:
    """Each change is told in words that hold no placeholder and do not repeat the state."""
    after = replace(UP, state=state, reason="exit code 1", failures=2)
    text = describe_change(UP, after, ["memory"], 1.5)
    assert text
    assert "None" not in text
    assert state not in text
    if state == "backoff":
        assert text == "exit code 1; next try in 1.5 s (failure 2 of 5)"
    if state == "waiting":
        assert text == "for memory"


CHARGED = replace(UP, state="stopping", charge=Outcome("unhealthy"))


@pytest.mark.parametrize(
    ("event", "after", "cause"),
    [
        (StartRequested(), replace(UP, state="starting"), "start_requested"),
        (TimerFired("backoff", 1), replace(UP, state="starting"), "restart_policy"),
        (TimerFired("startup", 1), replace(CHARGED, charge=Outcome("startup_timeout")), "startup_timeout"),
        (ProbeFailed(1, "silent"), replace(UP, state="unhealthy"), "probe_failed"),
        (ProbeFailed(1, "silent"), CHARGED, "unhealthy"),
        (LimitExceeded(1, "x", "vram_limit"), CHARGED, "vram_limit"),
        (GroupEmptied(1), replace(CHARGED, state="backoff"), "unhealthy"),
        (GroupEmptied(1), replace(UP, state="stopped", desired_up=False), "stop_requested"),
        (GroupEmptied(1), replace(UP, state="starting", desired_up=True), "restart_requested"),
    ],
)
def test_every_change_has_a_cause(event: Event, after: Child, cause: str) -> None:
    """A word that programs can count."""
    assert cause_of(event, after) == cause
