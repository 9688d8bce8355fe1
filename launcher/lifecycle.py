"""The lifecycle of one child: `step(child, event, now, jitter) -> (child, effects)`, and nothing else.

  from                      event                       to           effects
  ---------------------------------------------------------------------------------------------------------
  stopped failed backoff    start / restart requested   starting     new generation, failures=0, Spawn,
                                                                     SetTimer startup
    … with dependencies     the same                    waiting      CancelTimer
  waiting                   DependenciesMet             starting     new generation, Spawn, SetTimer startup
  starting                  Spawned                     starting     StartProbe (no probe: ready, stable)
  starting                  SpawnFailed                 backoff/failed   the policy decides
  starting                  Progressed                  starting     SetTimer startup, from now on
  starting                  ProbeSucceeded              ready        SetTimer stable
  starting                  ProbeFailed                 starting     none: only the startup budget ends it
  starting                  timer startup               stopping     charged; Diagnose, StopProbe, Terminate,
                                                                     SetTimer grace (spawning: re-arm)
  ready                     timer stable                ready        failures=0
  ready unhealthy           ProbeFailed < threshold     unhealthy    CancelTimer
  ready unhealthy           ProbeFailed at threshold    stopping     charged; as timer startup
  unhealthy                 ProbeSucceeded              ready        SetTimer stable
  starting ready unhealthy  MemoryExceeded              stopping     charged; StopProbe, Terminate, grace
  starting ready unhealthy  Exited, group empty         backoff/failed/stopped   StopProbe, policy decides
  starting ready unhealthy  Exited, group not empty     stopping     charged; StopProbe, Terminate, grace
  starting ready unhealthy  stop / restart requested    stopping     StopProbe, Terminate, SetTimer grace
                                                                     (spawning: SetTimer grace only)
  stopping                  Spawned                     stopping     Terminate, SetTimer grace
  stopping                  timer grace                 stopping     Kill, SetTimer (spawning: re-arm)
  stopping                  Exited, group not empty     stopping     none: stopped means all are gone
  stopping                  Exited and group empty,     stopped      when not wanted
                            GroupEmptied, SpawnFailed   starting/waiting   when a restart was asked for
                                                        backoff/failed/stopped   when charged: policy
  stopping                  start / restart requested   stopping     wanted again, and not charged
  backoff                   timer backoff               starting/waiting   restarts+1
  waiting backoff failed    stop requested              stopped      CancelTimer
  any                       RulesChanged                unchanged    none; holds from the next effect on
  any                       of an older generation,     unchanged    none
                            or a timer before its time

1. `desired_up` beside the state replaces every flag: *restart* is "stop, still wanted".
2. A stop that lands while a spawn is in flight waits for `Spawned`; else it would orphan the process.
3. Startup timeouts, unhealthy kills and memory limits are charged to the restart budget.
4. Events of an older generation are dropped in one place, here; so are timers that were re-armed meanwhile.
5. After SIGKILL a child stays `stopping`: a process stuck in a driver must not get a sibling beside it.
6. The policy judges the reason; time and jitter are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

# Packed, as two dozen lines of names would push the rules out of sight.
# isort: off
from launcher.lifecycle_values import (
    CancelTimer, Child, DependenciesMet, Diagnose, Effect, Event, Exited, GroupEmptied, Kill,
    MemoryExceeded, ProbeFailed, ProbeSucceeded, Progressed, RestartRequested, RulesChanged, SetTimer,
    Spawn, Spawned, SpawnFailed, StartProbe, StartRequested, StopProbe, StopRequested, Terminate,
    TimerFired, TimerKind,
)  # fmt: skip

# isort: on
from launcher.restart_policy import Finish, GiveUp, Outcome, RestartAfter, decide

__all__ = ["step"]

Step = tuple[Child, tuple[Effect, ...]]

_RUNNING = frozenset({"starting", "ready", "unhealthy"})
_EARLY_S = 0.001
"""A loop may fire a timer a clock tick early; any earlier means that it was re-armed meanwhile."""


def step(child: Child, event: Event, now: float, jitter: float) -> Step:
    """Return the child after `event` and the effects to perform, in order; see the table above.

    `now` is seconds of one monotonic clock, `jitter` uniform in [0, 1]. Total: every event is accepted in
    every state, and what does not apply changes nothing.
    """
    if getattr(event, "generation", child.generation) != child.generation:
        return child, ()
    after, effects = _HANDLERS[type(event)](child, event, now, jitter)
    if after.state != child.state:
        after = replace(after, since=now)
    return after, effects


def _start_requested(child: Child, event: StartRequested, now: float, jitter: float) -> Step:
    wanted = replace(child, desired_up=True)
    if child.state in ("stopped", "failed", "backoff"):
        return _launch(replace(wanted, failures=0, reason=None), now)
    if child.state == "stopping":
        return replace(wanted, failures=0, charge=None), ()
    return wanted, ()


def _restart_requested(child: Child, event: RestartRequested, now: float, jitter: float) -> Step:
    if child.state in _RUNNING:
        wanted = replace(child, desired_up=True, failures=0, charge=None, reason="restart requested")
        return _begin_stop(wanted, now)
    return _start_requested(child, StartRequested(), now, jitter)


def _stop_requested(child: Child, event: StopRequested, now: float, jitter: float) -> Step:
    unwanted = replace(child, desired_up=False)
    if child.state in _RUNNING:
        return _begin_stop(replace(unwanted, charge=None, failures=0, reason="stop requested"), now)
    if child.state == "stopping":
        return replace(unwanted, charge=None, failures=0), ()
    if child.state == "stopped":
        return unwanted, ()
    return replace(_untimed(unwanted), state="stopped", failures=0, reason=None), (CancelTimer(),)


def _rules_changed(child: Child, event: RulesChanged, now: float, jitter: float) -> Step:
    return replace(child, rules=event.rules), ()


def _dependencies_met(child: Child, event: DependenciesMet, now: float, jitter: float) -> Step:
    return _spawn(child, now) if child.state == "waiting" else (child, ())


def _spawned(child: Child, event: Spawned, now: float, jitter: float) -> Step:
    if not child.spawning:
        return child, ()
    alive = replace(child, spawning=False, pid=event.pid)
    if child.state == "stopping":
        stopping, timer = _armed(alive, "grace", child.rules.grace_s, now)
        return stopping, (Terminate(), timer)
    if child.rules.is_probed:
        return alive, (StartProbe(child.generation),)
    return _ready(alive, now)


def _spawn_failed(child: Child, event: SpawnFailed, now: float, jitter: float) -> Step:
    if not child.spawning:
        return child, ()
    over = replace(child, spawning=False, reason=event.text)
    if child.state == "starting":
        over = replace(over, charge=Outcome("spawn_failed"))
    return _settle(over, now, jitter)


def _probe_succeeded(child: Child, event: ProbeSucceeded, now: float, jitter: float) -> Step:
    if child.state == "ready" or child.state not in _RUNNING or child.spawning:
        return child, ()
    return _ready(child, now)


def _probe_failed(child: Child, event: ProbeFailed, now: float, jitter: float) -> Step:
    if child.state not in ("ready", "unhealthy"):
        return child, ()
    failures = child.probe_failures + 1
    failing = replace(child, probe_failures=failures)
    text = f"{event.text} ({failures} of {child.rules.failures} in a row)"
    if failures >= child.rules.failures:
        return _charge(replace(failing, reason=text), Outcome("unhealthy"), now, diagnose=text)
    return replace(_untimed(failing), state="unhealthy", reason=text), (CancelTimer(),)


def _progressed(child: Child, event: Progressed, now: float, jitter: float) -> Step:
    if child.state != "starting" or child.spawning:
        return child, ()
    started, timer = _armed(child, "startup", max(child.rules.startup_budget_s, event.extend_s), now)
    return started, (timer,)


def _memory_exceeded(child: Child, event: MemoryExceeded, now: float, jitter: float) -> Step:
    if child.state not in _RUNNING or child.spawning:
        return child, ()
    return _charge(replace(child, reason=event.text), Outcome("memory_limit"), now)


def _exited(child: Child, event: Exited, now: float, jitter: float) -> Step:
    if child.pid is None or child.leader_exited:
        return child, ()
    gone = replace(child, leader_exited=True)
    if child.state == "stopping":
        return _settle(gone, now, jitter) if event.group_empty else (gone, ())
    gone = replace(gone, charge=event.outcome, reason=event.text)
    if not event.group_empty:
        return _begin_stop(gone, now)
    after, effects = _settle(gone, now, jitter)
    return after, (StopProbe(), *effects)


def _group_emptied(child: Child, event: GroupEmptied, now: float, jitter: float) -> Step:
    if child.state != "stopping" or not child.leader_exited:
        return child, ()
    return _settle(child, now, jitter)


def _timer_fired(child: Child, event: TimerFired, now: float, jitter: float) -> Step:
    if event.kind != child.timer or child.due_at is None or now < child.due_at - _EARLY_S:
        return child, ()
    match event.kind:
        case "startup":
            return _startup_ran_out(child, now)
        case "stable":
            return replace(_untimed(child), failures=0), ()
        case "grace":
            stopping, timer = _armed(child, "grace", child.rules.grace_s, now)
            return stopping, (timer,) if child.spawning else (Kill(), timer)
        case "backoff":
            return _launch(replace(child, restarts=child.restarts + 1), now)


def _startup_ran_out(child: Child, now: float) -> Step:
    budget_s = child.rules.startup_budget_s
    if child.spawning:
        starting, timer = _armed(child, "startup", budget_s, now)
        return starting, (timer,)
    text = f"not ready, and no progress, within its startup budget of {budget_s:g} s"
    return _charge(replace(child, reason=text), Outcome("startup_timeout"), now, diagnose=text)


def _launch(child: Child, now: float) -> Step:
    """Start, or first wait for the dependencies."""
    if child.rules.has_dependencies:
        return replace(_untimed(child), state="waiting"), (CancelTimer(),)
    return _spawn(child, now)


def _spawn(child: Child, now: float) -> Step:
    fresh = replace(
        child,
        state="starting",
        generation=child.generation + 1,
        spawning=True,
        pid=None,
        leader_exited=False,
        probe_failures=0,
        charge=None,
        reason=None,
    )
    starting, timer = _armed(fresh, "startup", child.rules.startup_budget_s, now)
    return starting, (Spawn(starting.generation), timer)


def _ready(child: Child, now: float) -> Step:
    well = replace(child, state="ready", probe_failures=0, reason=None)
    ready, timer = _armed(well, "stable", child.rules.restart.stable_after_s, now)
    return ready, (timer,)


def _charge(child: Child, outcome: Outcome, now: float, *, diagnose: str | None = None) -> Step:
    """End a running child that has failed."""
    stopping, effects = _begin_stop(replace(child, charge=outcome), now)
    return stopping, effects if diagnose is None else (Diagnose(diagnose), *effects)


def _begin_stop(child: Child, now: float) -> Step:
    stopping, timer = _armed(replace(child, state="stopping"), "grace", child.rules.grace_s, now)
    return stopping, (timer,) if child.spawning else (StopProbe(), Terminate(), timer)


def _settle(child: Child, now: float, jitter: float) -> Step:
    """Nothing of this generation lives any more: what now?"""
    over = _untimed(replace(child, pid=None, leader_exited=False))
    if not child.desired_up:
        return replace(over, state="stopped", reason=None, charge=None), (CancelTimer(),)
    if child.charge is None:
        return _launch(replace(over, reason=None), now)
    failures = child.failures if child.charge.is_clean else child.failures + 1
    verdict = decide(child.rules.restart, child.charge, max(failures, 1), jitter)
    over = replace(over, failures=failures)
    match verdict:
        case RestartAfter(delay_s):
            waiting, timer = _armed(replace(over, state="backoff"), "backoff", delay_s, now)
            return waiting, (timer,)
        case GiveUp(reason):
            text = reason if child.reason is None else f"{reason} ({child.reason})"
            return replace(over, state="failed", reason=text), (CancelTimer(),)
        case Finish():
            return replace(over, state="stopped"), (CancelTimer(),)


def _armed(child: Child, kind: TimerKind, delay_s: float, now: float) -> tuple[Child, SetTimer]:
    return replace(child, timer=kind, due_at=now + delay_s), SetTimer(kind, delay_s)


def _untimed(child: Child) -> Child:
    return replace(child, timer=None, due_at=None)


_HANDLERS: dict[type, Callable[[Child, Any, float, float], Step]] = {
    StartRequested: _start_requested,
    RestartRequested: _restart_requested,
    StopRequested: _stop_requested,
    RulesChanged: _rules_changed,
    DependenciesMet: _dependencies_met,
    Spawned: _spawned,
    SpawnFailed: _spawn_failed,
    ProbeSucceeded: _probe_succeeded,
    ProbeFailed: _probe_failed,
    Progressed: _progressed,
    MemoryExceeded: _memory_exceeded,
    Exited: _exited,
    GroupEmptied: _group_emptied,
    TimerFired: _timer_fired,
}
