"""launcher.lifecycle: single stories through the table, told as histories."""

from __future__ import annotations

from launcher.lifecycle import step
from launcher.lifecycle_values import (
    CancelTimer,
    Child,
    DependenciesMet,
    DeviceMismatched,
    Diagnose,
    Diagnosed,
    Effect,
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
    RulesChanged,
    SetTimer,
    Spawn,
    Spawned,
    StartRequested,
    StopProbe,
    StopRequested,
    Terminate,
    TimerFired,
)
from launcher.restart_policy import Outcome, RestartRules

CRASH = Outcome("exited", 1)


def play(child: Child, *events: tuple[float, Event]) -> tuple[Child, tuple[Effect, ...]]:
    """Feed (time, event) pairs; returns the child and the effects of the last one."""
    effects: tuple[Effect, ...] = ()
    for now, event in events:
        child, effects = step(child, event, now, 0.5)
    return child, effects


def started(rules: Rules | None = None) -> Child:
    """A child whose first process lives and is not ready yet."""
    return play(Child(rules or Rules()), (0.0, StartRequested()), (0.1, Spawned(1, 100)))[0]


def ready(rules: Rules | None = None) -> Child:
    """A child that became ready at 1 s."""
    return play(started(rules), (1.0, ProbeSucceeded(1)))[0]


def test_start_spawns_under_the_startup_budget() -> None:
    """A start asks for a spawn and arms the startup timer."""
    child, effects = step(Child(Rules()), StartRequested(), 5.0, 0.5)
    assert (child.state, child.generation, child.since, child.due_at) == ("starting", 1, 5.0, 125.0)
    assert effects == (Spawn(1), SetTimer("startup", 120.0))


def test_an_unprobed_child_is_ready_once_it_has_lived_for_a_while() -> None:
    """Nobody can ask a command without a health check, so it must stand first."""
    rules = Rules(is_probed=False, min_uptime_s=2.0)
    child, effects = play(Child(rules), (0.0, StartRequested()), (0.5, Spawned(1, 100)))
    assert (child.state, effects) == ("starting", (SetTimer("settle", 2.0),))
    assert step(child, Progressed(1, 600.0), 1.0, 0.5) == (child, ())
    child, effects = play(child, (2.5, TimerFired("settle", 1)))
    assert (child.state, child.since, effects) == ("ready", 2.5, (SetTimer("stable", 60.0),))


def test_an_unprobed_child_that_exits_at_once_was_never_ready() -> None:
    """A crash loop of a command without a health check goes from starting to backoff, and is given up."""
    child, _ = play(Child(Rules(is_probed=False)), (0.0, StartRequested()))
    seen = []
    for generation in range(1, 6):
        start = 100.0 * generation
        child, _ = play(child, (start, Spawned(generation, 100)))
        seen.append(child.state)
        child, _ = play(child, (start + 0.9, Exited(generation, CRASH, "x", True)))
        seen.append(child.state)
        child, _ = play(child, (start + 99.0, TimerFired("backoff", generation)))
    assert seen == ["starting", "backoff"] * 4 + ["starting", "failed"]


def test_an_unprobed_child_may_be_ready_at_once() -> None:
    """For whoever wants it so: `min_uptime: 0s`."""
    rules = Rules(is_probed=False, min_uptime_s=0.0)
    child, effects = play(Child(rules), (0.0, StartRequested()), (0.1, Spawned(1, 100)))
    assert (child.state, effects) == ("ready", (SetTimer("stable", 60.0),))


def test_waits_for_its_dependencies_each_time() -> None:
    """A dependent waits first, and again before a restart by the policy."""
    rules = Rules(has_dependencies=True)
    child, effects = step(Child(rules), StartRequested(), 0.0, 0.5)
    assert (child.state, effects) == ("waiting", (CancelTimer(),))
    child, _ = play(child, (1.0, DependenciesMet()), (1.1, Spawned(1, 9)), (2.0, Exited(1, CRASH, "x", True)))
    child, _ = play(child, (2.5, TimerFired("backoff", 1)))
    assert (child.state, child.restarts) == ("waiting", 1)


def test_progress_extends_the_startup_budget() -> None:
    """Each sign of progress gives the whole budget again, or the longer time that was asked for."""
    child, effects = play(started(), (100.0, Progressed(1)))
    assert (child.due_at, effects) == (220.0, (SetTimer("startup", 120.0),))
    child, _ = play(child, (101.0, Progressed(1, extend_s=600.0)))
    assert child.due_at == 701.0


def test_startup_timeout_is_charged() -> None:
    """A model that never loads is diagnosed, ended and counted."""
    child, effects = play(started(), (120.0, TimerFired("startup", 1)))
    text = "not ready, and no progress, within its startup budget of 120 s"
    assert effects == (StopProbe(), Diagnose(text), SetTimer("diagnosis", 5.0))
    child, effects = play(child, (120.2, Diagnosed(1)))
    assert effects == (Terminate(), SetTimer("grace", 10.0))
    child, _ = play(child, (121.0, Exited(1, Outcome("exited", 0), "x", True)))
    assert (child.state, child.failures) == ("backoff", 1)
    assert child.charge == Outcome("startup_timeout")


def test_unhealthy_below_and_at_the_threshold() -> None:
    """The first failed probe shows, a success clears it, and the third in a row ends the child."""
    child, effects = play(ready(), (2.0, ProbeFailed(1, "silent")))
    assert (child.state, child.probe_failures, effects) == ("unhealthy", 1, (CancelTimer(),))
    child, effects = play(child, (3.0, ProbeSucceeded(1)))
    assert (child.state, child.probe_failures, effects) == ("ready", 0, (SetTimer("stable", 60.0),))
    child, effects = play(child, *((4.0 + n, ProbeFailed(1, "silent")) for n in range(3)))
    assert child.state == "stopping"
    assert child.reason == "silent (3 of 3 in a row)"
    assert [type(effect) for effect in effects] == [StopProbe, Diagnose, SetTimer]


def test_a_look_that_takes_too_long_is_not_waited_for() -> None:
    """The stop signal comes after five seconds at the latest, and at once when the user wants it down."""
    hung, _ = play(ready(Rules(failures=1)), (2.0, ProbeFailed(1, "silent")))
    ended = (Terminate(), SetTimer("grace", 10.0))
    assert play(hung, (6.9, TimerFired("diagnosis", 1)))[1] == ()
    assert play(hung, (7.0, TimerFired("diagnosis", 1)))[1] == ended
    assert play(hung, (3.0, StopRequested()))[1] == ended


def test_a_stopping_child_may_ask_for_more_time_until_it_is_killed() -> None:
    """An extension lengthens the grace period and never shortens it; after SIGKILL it counts no more."""
    child, _ = play(ready(), (2.0, StopRequested()))
    assert play(child, (3.0, Progressed(1, extend_s=5.0)))[1] == ()
    child, effects = play(child, (3.0, Progressed(1, extend_s=60.0)))
    assert (child.due_at, effects) == (63.0, (SetTimer("grace", 60.0),))
    child, effects = play(child, (63.0, TimerFired("grace", 1)))
    assert effects[0] == Kill()
    assert play(child, (64.0, Progressed(1, extend_s=60.0)))[1] == ()


def test_a_passed_limit_drains_and_restarts() -> None:
    """Over a limit a child is asked to end, and that counts as a failure with its reason."""
    child, effects = play(ready(), (2.0, LimitExceeded(1, "uses too much", "vram_limit")))
    assert effects == (StopProbe(), Terminate(), SetTimer("grace", 10.0))
    child, _ = play(child, (3.0, Exited(1, Outcome("exited", 0), "x", True)))
    assert (child.state, child.charge) == ("backoff", Outcome("vram_limit"))


def test_the_wrong_device_is_final() -> None:
    """A child that computes on the CPU though it was given a GPU is failed, with what came instead."""
    child, _ = play(ready(), (2.0, DeviceMismatched(1, "runs on the CPU")))
    child, _ = play(child, (3.0, Exited(1, Outcome("exited", 0), "x", True)))
    assert child.state == "failed"
    assert child.reason == "it is not on the device that it was given (runs on the CPU)"


def test_probe_failures_while_starting_do_not_count() -> None:
    """Readiness and liveness are different questions."""
    child = started()
    assert step(child, ProbeFailed(1, "refused"), 1.0, 0.5) == (child, ())


def test_grace_kills_and_keeps_killing() -> None:
    """After the grace period comes SIGKILL, and the child stays `stopping` until its group is empty."""
    child, _ = play(ready(), (2.0, StopRequested()))
    for now in (12.0, 22.0):
        child, effects = play(child, (now, TimerFired("grace", 1)))
        assert (child.state, effects) == ("stopping", (Kill(), SetTimer("grace", 10.0)))
    child, effects = play(child, (23.0, Exited(1, Outcome("killed"), "x", False)))
    assert (child.state, effects) == ("stopping", ())
    child, effects = play(child, (24.0, GroupEmptied(1)))
    assert (child.state, effects) == ("stopped", (CancelTimer(),))


def test_stop_while_spawning_waits_for_the_process() -> None:
    """A stop that overtakes the spawn signals the process as soon as it exists."""
    child, effects = play(Child(Rules()), (0.0, StartRequested()), (0.1, StopRequested()))
    assert (child.state, effects) == ("stopping", (SetTimer("grace", 10.0),))
    child, effects = play(child, (0.2, Spawned(1, 100)))
    assert effects == (Terminate(), SetTimer("grace", 10.0))


def test_user_restart_is_not_charged() -> None:
    """A requested restart goes straight to a new generation with a clean record."""
    child, _ = play(ready(), (2.0, RestartRequested()), (3.0, Exited(1, Outcome("killed"), "x", True)))
    assert (child.state, child.generation, child.failures, child.restarts) == ("starting", 2, 0, 0)


def test_crash_loop_gives_up_and_start_clears_it() -> None:
    """Five crashes in a row end in `failed` with the reason; a start begins afresh."""
    child = ready()
    for n in range(1, 6):
        child, _ = play(child, (10.0 * n, Exited(n, CRASH, "exit code 1", True)))
        if n < 5:
            assert child.state == "backoff"
            child, _ = play(
                child,
                (10.0 * n + 9, TimerFired("backoff", n)),
                (10.0 * n + 9, Spawned(n + 1, 100 + n)),
            )
    assert child.state == "failed"
    assert child.reason == "gave up: it ended 5 times in a row (exit code 1)"
    child, _ = play(child, (100.0, StartRequested()))
    assert (child.state, child.failures) == ("starting", 0)


def test_stable_time_clears_the_failures() -> None:
    """A minute in `ready` and the failures before are forgotten."""
    child, _ = play(ready(), (2.0, Exited(1, CRASH, "x", True)), (3.0, TimerFired("backoff", 1)))
    child, _ = play(child, (3.1, Spawned(2, 200)), (4.0, ProbeSucceeded(2)))
    assert child.failures == 1
    child, effects = play(child, (64.0, TimerFired("stable", 2)))
    assert (child.state, child.failures, child.timer, effects) == ("ready", 0, None, ())


def test_exit_78_is_never_retried() -> None:
    """A child that says its configuration is wrong fails at once, whatever the policy."""
    rules = Rules(RestartRules(policy="always"))
    child, _ = play(started(rules), (1.0, Exited(1, Outcome("exited", 78), "exit code 78", True)))
    assert child.state == "failed"


def test_survivors_of_a_crash_are_ended_before_the_restart() -> None:
    """When the leader dies and leaves processes behind, they are ended before a sibling may start."""
    child, effects = play(ready(), (2.0, Exited(1, CRASH, "exit code 1", False)))
    assert child.state == "stopping"
    assert effects == (StopProbe(), Terminate(), SetTimer("grace", 10.0))
    child, _ = play(child, (2.5, GroupEmptied(1)))
    assert (child.state, child.failures) == ("backoff", 1)


def test_new_rules_hold_from_the_next_effect() -> None:
    """Changed limits apply without a restart."""
    child, effects = play(ready(), (2.0, RulesChanged(Rules(grace_s=1.0))))
    assert (child.state, effects) == ("ready", ())
    assert play(child, (3.0, StopRequested()))[1][-1] == SetTimer("grace", 1.0)
