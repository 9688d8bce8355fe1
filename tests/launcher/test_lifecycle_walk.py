"""launcher.lifecycle by exhaustion: every event from every reachable configuration, under every policy."""

from __future__ import annotations

import pytest

from launcher.lifecycle import step
from launcher.lifecycle_values import (
    DeviceMismatched,
    Diagnosed,
    Event,
    Exited,
    GroupEmptied,
    Kill,
    LimitExceeded,
    ProbeFailed,
    ProbeSucceeded,
    Progressed,
    RestartRequested,
    Rules,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Terminate,
    TimerFired,
)
from launcher.restart_policy import Outcome, has_failed
from tests.launcher.lifecycle_world import VARIANTS, advance, key, name, possible, walk


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_invariants_hold_everywhere(rules: Rules) -> None:
    """Never two copies, never a signal to the dead, and the right timer in every state."""
    states = {configuration.child.state for configuration in walk(rules)}
    expected = {"stopped", "starting", "ready", "stopping", "failed"}
    expected |= {"backoff"} if rules.restart.policy != "never" else set()
    expected |= {"unhealthy"} if rules.is_probed else set()
    expected |= {"waiting"} if rules.has_dependencies else set()
    assert states == expected


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_stop_always_reaches_stopped(rules: Rules) -> None:
    """From anywhere, a stop and then whatever the world does ends in `stopped` with nothing alive."""
    requests = (StartRequested, RestartRequested)
    for configuration in walk(rules).values():
        first = advance(configuration, StopRequested(), configuration.world)
        seen = {key(first)}
        queue = [first]
        ends = set()
        while queue:
            current = queue.pop()
            events = [pair for pair in possible(current) if not isinstance(pair[0], requests)]
            if current.child.state == "stopped":
                ends.add("stopped")
                continue
            assert current.child.state == "stopping"
            for event, world in events:
                after = advance(current, event, world)
                if key(after) not in seen:
                    seen.add(key(after))
                    queue.append(after)
        assert ends == {"stopped"}


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_stale_events_change_nothing(rules: Rules) -> None:
    """Events of an older generation are dropped in every configuration."""
    outcome = Outcome("exited", 1)
    for configuration in walk(rules).values():
        old = configuration.child.generation - 1
        stale: tuple[Event, ...] = (
            Spawned(old, 7),
            SpawnFailed(old, "x"),
            ProbeSucceeded(old),
            ProbeFailed(old, "x"),
            Progressed(old),
            LimitExceeded(old, "x"),
            DeviceMismatched(old, "x"),
            Diagnosed(old),
            Exited(old, outcome, "x", True),
            GroupEmptied(old),
            TimerFired("startup", old),
            TimerFired("stable", old),
            TimerFired("diagnosis", old),
            TimerFired("grace", old),
            TimerFired("backoff", old),
        )
        for event in stale:
            assert step(configuration.child, event, 1e9, 0.5) == (configuration.child, ())


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_nothing_is_signalled_before_it_was_looked_at_nor_twice_after(rules: Rules) -> None:
    """While a child is looked at only the look's end, its limit or a stop request signals it, and once."""
    for configuration in walk(rules).values():
        child = configuration.child
        if child.timer != "diagnosis":
            continue
        for event, world in possible(configuration):
            after, effects = step(child, event, child.due_at or 0.0, 0.5)
            ends = isinstance(event, Diagnosed | StopRequested | TimerFired)
            assert (Terminate() in effects) == ends, event
            assert Kill() not in effects
            if ends:
                assert after.timer == "grace"
                assert step(after, Diagnosed(child.generation), 0.0, 0.5) == (after, ())
            assert world.group_alive or after.state != "stopping"


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_a_timer_before_its_time_changes_nothing(rules: Rules) -> None:
    """A timer that was re-armed while its firing was queued does not count."""
    for configuration in walk(rules).values():
        child = configuration.child
        if child.timer is None or child.due_at is None:
            continue
        early = child.due_at - 0.01
        assert step(child, TimerFired(child.timer, child.generation), early, 0.5) == (child, ())


@pytest.mark.parametrize("rules", VARIANTS, ids=name)
def test_a_charged_end_is_counted_or_final(rules: Rules) -> None:
    """Every failed generation raises the count of failures or ends the tries; none is free."""
    for configuration in walk(rules).values():
        child = configuration.child
        charge = child.charge
        if child.state != "stopping" or charge is None or not child.leader_exited:
            continue
        if not has_failed(rules.restart, charge):
            continue
        after, _ = step(child, GroupEmptied(child.generation), 0.0, 0.5)
        assert after.failures == child.failures + 1
        is_over = charge.is_clean and rules.restart.policy == "never"
        assert after.state in (("stopped",) if is_over else ("backoff", "failed"))
