"""launcher.restart_policy: when a child that ended is started again."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.restart_policy import (
    ExitReason,
    Finish,
    GiveUp,
    Outcome,
    RestartAfter,
    RestartRules,
    backoff_delay_s,
    decide,
    has_failed,
)

CRASH = Outcome("exited", 1)


def test_delays_double_to_the_cap() -> None:
    """The contract's defaults give 0.5, 1, 2, 4 … and never more than 30 s."""
    rules = RestartRules()
    delays = [backoff_delay_s(rules, failures, 0.5) for failures in range(1, 9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(
    failures=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
    initial_s=st.floats(0, 60),
    max_s=st.floats(0, 600),
    factor=st.floats(1, 100),
    spread=st.floats(0, 1),
)
def test_delay_stays_within_cap_and_spread(
    failures: int, jitter: float, initial_s: float, max_s: float, factor: float, spread: float
) -> None:
    """Any rules and any number of failures give a finite delay, within the spread and the cap."""
    rules = RestartRules(initial_s=initial_s, max_s=max_s, factor=factor, jitter=spread)
    plain_s = backoff_delay_s(rules, failures, 0.5)
    delay_s = backoff_delay_s(rules, failures, jitter)
    assert 0 <= delay_s <= max_s
    assert plain_s * (1 - spread) - 1e-9 <= delay_s <= plain_s * (1 + spread) + 1e-9
    assert backoff_delay_s(rules, failures + 1, 0.5) >= plain_s


@pytest.mark.parametrize("reason", get_args(ExitReason))
@pytest.mark.parametrize("code", [None, 0, 1, 78])
def test_on_failure_restarts_every_failure(reason: ExitReason, code: int | None) -> None:
    """A clean exit finishes; the child's own exit 78 and the wrong device give up at once; all else is tried
    again.
    """
    verdict = decide(RestartRules(), Outcome(reason, code), 1, 0.5)
    if reason == "exited" and code == 0:
        assert verdict == Finish()
    elif (reason == "exited" and code == 78) or reason == "wrong_device":
        assert isinstance(verdict, GiveUp)
    else:
        assert verdict == RestartAfter(0.5)


def test_unhealthy_kill_that_exits_zero_has_failed() -> None:
    """The policy judges the reason: exit 0 after an unhealthy kill is not success, under any policy."""
    assert isinstance(decide(RestartRules(policy="never"), Outcome("unhealthy", 0), 1, 0.5), GiveUp)
    assert isinstance(decide(RestartRules(), Outcome("unhealthy", 0), 1, 0.5), RestartAfter)


def test_a_server_that_ends_unasked_has_failed() -> None:
    """Its work has no end, so that a clean exit is tried again, counted and given up like any other."""
    server, clean = RestartRules(is_endless=True), Outcome("exited", 0)
    assert decide(server, clean, 1, 0.5) == RestartAfter(0.5)
    assert decide(server, clean, 5, 0.5) == GiveUp("gave up: it ended 5 times in a row")
    assert has_failed(server, clean)
    assert not has_failed(RestartRules(), clean)
    assert decide(RestartRules(is_endless=True, policy="never"), clean, 1, 0.5) == Finish()


def test_gives_up_at_the_limit() -> None:
    """The fifth failure in a row is the last one, and 0 means that there is no limit."""
    assert isinstance(decide(RestartRules(), CRASH, 4, 0.5), RestartAfter)
    assert decide(RestartRules(), CRASH, 5, 0.5) == GiveUp("gave up: it ended 5 times in a row")
    assert isinstance(decide(RestartRules(max_failures=0), CRASH, 10**6, 0.5), RestartAfter)


def test_always_restarts_a_clean_exit_but_not_exit_78() -> None:
    """`always` means success too, and still honours the child that says it is useless."""
    rules = RestartRules(policy="always")
    assert isinstance(decide(rules, Outcome("exited", 0), 1, 0.5), RestartAfter)
    assert isinstance(decide(rules, Outcome("exited", 78), 1, 0.5), GiveUp)


def test_never_finishes_or_gives_up() -> None:
    """`never` starts nothing again, whatever happened."""
    rules = RestartRules(policy="never")
    assert decide(rules, Outcome("exited", 0), 1, 0.5) == Finish()
    assert isinstance(decide(rules, CRASH, 1, 0.5), GiveUp)
