"""The lifecycle of one child: `step(child, event, now, jitter) -> (child, effects)`, and nothing else.

  from                      event                       to           effects
  ---------------------------------------------------------------------------------------------------------
  stopped failed backoff    start / restart requested   starting     new generation, failures=0, Spawn,
                                                                     SetTimer startup
    … with dependencies     the same                    waiting      CancelTimer
  waiting                   DependenciesMet             starting     new generation, Spawn, SetTimer startup
  starting                  Spawned                     starting     StartProbe (no probe: SetTimer settle)
  starting                  timer settle                ready        SetTimer stable
  starting                  SpawnFailed                 backoff/failed   the policy decides
  starting                  Progressed                  starting     SetTimer startup, from now on (probed)
  starting                  ProbeSucceeded              ready        SetTimer stable
  starting                  ProbeFailed                 starting     none: only the startup budget ends it
  starting                  timer startup               stopping     charged; StopProbe, Diagnose,
                                                                     SetTimer diagnosis (spawning: re-arm)
  ready                     timer stable                ready        failures=0
  ready unhealthy           ProbeFailed < threshold     unhealthy    CancelTimer
  ready unhealthy           ProbeFailed at threshold    stopping     charged; as timer startup
  unhealthy                 ProbeSucceeded              ready        SetTimer stable
  starting ready unhealthy  LimitExceeded,              stopping     charged; StopProbe, Terminate, grace
                            DeviceMismatched
  starting ready unhealthy  Exited, group empty         backoff/failed/stopped   StopProbe, policy decides
  starting ready unhealthy  Exited, group not empty     stopping     charged; StopProbe, Terminate, grace
  starting ready unhealthy  stop / restart requested    stopping     StopProbe, Terminate, SetTimer grace
                                                                     (spawning: SetTimer grace only)
  stopping                  Spawned                     stopping     Terminate, SetTimer grace
  stopping                  Diagnosed, timer diagnosis, stopping     Terminate, SetTimer grace, once
                            stop requested
  stopping                  Progressed with extension   stopping     SetTimer grace, never shorter, not after
                                                                     Kill
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
3. Startup timeouts, unhealthy kills and limits are charged to the restart budget.
4. Events of an older generation are dropped in one place, here; so are timers that were re-armed meanwhile.
5. After SIGKILL a child stays `stopping`: a process stuck in a driver must not get a sibling beside it.
6. The policy judges the reason; time and jitter are arguments.
7. A hung child is first looked at, then signalled; the looking has its own short limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

# Packed, as two dozen lines of names would push the rules out of sight.
# isort: off
from launcher.lifecycle_moves import (
    Step, armed, become_ready, begin_stop, charge, diagnose_first, launch, settle, settle_in, spawn,
    terminate, untimed,
)  # fmt: skip
from launcher.lifecycle_values import (
    CancelTimer, Child, DependenciesMet, DeviceMismatched, Diagnosed, Event, Exited, GroupEmptied, Kill,
    LimitExceeded, ProbeFailed, ProbeSucceeded, Progressed, RestartRequested, RulesChanged, Spawned,
    SpawnFailed, StartProbe, StartRequested, StopProbe, StopRequested, TimerFired,
)  # fmt: skip

# isort: on
from launcher.restart_policy import Outcome

__all__ = ["step"]

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
        return launch(replace(wanted, failures=0, reason=None), now)
    if child.state == "stopping":
        return replace(wanted, failures=0, charge=None), ()
    return wanted, ()


def _restart_requested(child: Child, event: RestartRequested, now: float, jitter: float) -> Step:
    if child.state in _RUNNING:
        wanted = replace(child, desired_up=True, failures=0, charge=None, reason="restart requested")
        return begin_stop(wanted, now)
    return _start_requested(child, StartRequested(), now, jitter)


def _stop_requested(child: Child, event: StopRequested, now: float, jitter: float) -> Step:
    unwanted = replace(child, desired_up=False)
    if child.state in _RUNNING:
        return begin_stop(replace(unwanted, charge=None, failures=0, reason="stop requested"), now)
    if child.state == "stopping":
        unwanted = replace(unwanted, charge=None, failures=0)
        return terminate(unwanted, now) if child.timer == "diagnosis" else (unwanted, ())
    if child.state == "stopped":
        return unwanted, ()
    return replace(untimed(unwanted), state="stopped", failures=0, reason=None), (CancelTimer(),)


def _rules_changed(child: Child, event: RulesChanged, now: float, jitter: float) -> Step:
    return replace(child, rules=event.rules), ()


def _dependencies_met(child: Child, event: DependenciesMet, now: float, jitter: float) -> Step:
    return spawn(child, now) if child.state == "waiting" else (child, ())


def _spawned(child: Child, event: Spawned, now: float, jitter: float) -> Step:
    if not child.spawning:
        return child, ()
    alive = replace(child, spawning=False, pid=event.pid)
    if child.state == "stopping":
        return terminate(alive, now)
    if child.rules.is_probed:
        return alive, (StartProbe(child.generation),)
    return settle_in(alive, now)


def _spawn_failed(child: Child, event: SpawnFailed, now: float, jitter: float) -> Step:
    if not child.spawning:
        return child, ()
    over = replace(child, spawning=False, reason=event.text)
    if child.state == "starting":
        over = replace(over, charge=Outcome("spawn_failed"))
    return settle(over, now, jitter)


def _probe_succeeded(child: Child, event: ProbeSucceeded, now: float, jitter: float) -> Step:
    if child.state == "ready" or child.state not in _RUNNING or child.spawning:
        return child, ()
    return become_ready(child, now)


def _probe_failed(child: Child, event: ProbeFailed, now: float, jitter: float) -> Step:
    if child.state not in ("ready", "unhealthy"):
        return child, ()
    failures = child.probe_failures + 1
    failing = replace(child, probe_failures=failures)
    text = f"{event.text} ({failures} of {child.rules.failures} in a row)"
    if failures >= child.rules.failures:
        return diagnose_first(failing, Outcome("unhealthy"), text, now)
    return replace(untimed(failing), state="unhealthy", reason=text), (CancelTimer(),)


def _progressed(child: Child, event: Progressed, now: float, jitter: float) -> Step:
    if child.state == "stopping" and child.timer == "grace":
        return _more_grace(child, event.extend_s, now)
    if child.state != "starting" or child.spawning or not child.rules.is_probed:
        return child, ()
    started, timer = armed(child, "startup", max(child.rules.startup_budget_s, event.extend_s), now)
    return started, (timer,)


def _more_grace(child: Child, extend_s: float, now: float) -> Step:
    if child.killed or child.spawning or child.due_at is None or now + extend_s <= child.due_at:
        return child, ()
    stopping, timer = armed(child, "grace", extend_s, now)
    return stopping, (timer,)


def _limit_exceeded(child: Child, event: LimitExceeded, now: float, jitter: float) -> Step:
    if child.state not in _RUNNING or child.spawning:
        return child, ()
    return charge(replace(child, reason=event.text), Outcome(event.reason), now)


def _device_mismatched(child: Child, event: DeviceMismatched, now: float, jitter: float) -> Step:
    if child.state not in _RUNNING or child.spawning:
        return child, ()
    return charge(replace(child, reason=event.text), Outcome("wrong_device"), now)


def _diagnosed(child: Child, event: Diagnosed, now: float, jitter: float) -> Step:
    is_awaited = child.state == "stopping" and child.timer == "diagnosis"
    return terminate(child, now) if is_awaited else (child, ())


def _exited(child: Child, event: Exited, now: float, jitter: float) -> Step:
    if child.pid is None or child.leader_exited:
        return child, ()
    gone = replace(child, leader_exited=True)
    if child.state == "stopping":
        return settle(gone, now, jitter) if event.group_empty else (gone, ())
    gone = replace(gone, charge=event.outcome, reason=event.text)
    if not event.group_empty:
        return begin_stop(gone, now)
    after, effects = settle(gone, now, jitter)
    return after, (StopProbe(), *effects)


def _group_emptied(child: Child, event: GroupEmptied, now: float, jitter: float) -> Step:
    if child.state != "stopping" or not child.leader_exited:
        return child, ()
    return settle(child, now, jitter)


def _timer_fired(child: Child, event: TimerFired, now: float, jitter: float) -> Step:
    if event.kind != child.timer or child.due_at is None or now < child.due_at - _EARLY_S:
        return child, ()
    match event.kind:
        case "startup":
            return _startup_ran_out(child, now)
        case "settle":
            return become_ready(child, now)
        case "stable":
            return replace(untimed(child), failures=0), ()
        case "diagnosis":
            return terminate(child, now)
        case "grace":
            return _grace_ran_out(child, now)
        case "backoff":
            return launch(replace(child, restarts=child.restarts + 1), now)


def _grace_ran_out(child: Child, now: float) -> Step:
    stopping, timer = armed(child, "grace", child.rules.grace_s, now)
    return (stopping, (timer,)) if child.spawning else (replace(stopping, killed=True), (Kill(), timer))


def _startup_ran_out(child: Child, now: float) -> Step:
    budget_s = child.rules.startup_budget_s
    if child.spawning:
        starting, timer = armed(child, "startup", budget_s, now)
        return starting, (timer,)
    text = f"not ready, and no progress, within its startup budget of {budget_s:g} s"
    return diagnose_first(child, Outcome("startup_timeout"), text, now)


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
    LimitExceeded: _limit_exceeded,
    DeviceMismatched: _device_mismatched,
    Diagnosed: _diagnosed,
    Exited: _exited,
    GroupEmptied: _group_emptied,
    TimerFired: _timer_fired,
}
