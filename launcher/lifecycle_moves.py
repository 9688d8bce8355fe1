"""The moves that several rules of the lifecycle share: launch, get ready, be charged, stop, settle.

Pure. Each takes a child and the time and returns the child and the effects, as `lifecycle.step` does; which
rule makes which move is decided there.
"""

from __future__ import annotations

from dataclasses import replace

from launcher.lifecycle_values import (
    CancelTimer,
    Child,
    Diagnose,
    Effect,
    SetTimer,
    Spawn,
    StopProbe,
    Terminate,
    TimerKind,
)
from launcher.restart_policy import Finish, GiveUp, Outcome, RestartAfter, decide, has_failed

__all__ = [
    "DIAGNOSIS_LIMIT_S",
    "Step",
    "armed",
    "become_ready",
    "begin_stop",
    "charge",
    "diagnose_first",
    "launch",
    "settle",
    "settle_in",
    "spawn",
    "terminate",
    "untimed",
]

Step = tuple[Child, tuple[Effect, ...]]

DIAGNOSIS_LIMIT_S = 5.0
"""A hung child is looked at for at most so long before it is signalled."""


def launch(child: Child, now: float) -> Step:
    """Start, or first wait for the dependencies."""
    if child.rules.has_dependencies:
        return replace(untimed(child), state="waiting"), (CancelTimer(),)
    return spawn(child, now)


def spawn(child: Child, now: float) -> Step:
    """Begin a new generation."""
    fresh = replace(
        child,
        state="starting",
        generation=child.generation + 1,
        spawning=True,
        pid=None,
        leader_exited=False,
        killed=False,
        probe_failures=0,
        charge=None,
        reason=None,
    )
    starting, timer = armed(fresh, "startup", child.rules.startup_budget_s, now)
    return starting, (Spawn(starting.generation), timer)


def settle_in(child: Child, now: float) -> Step:
    """Nobody asks this one whether it is ready: it is when it has lived for a while."""
    if child.rules.min_uptime_s <= 0:
        return become_ready(child, now)
    starting, timer = armed(child, "settle", child.rules.min_uptime_s, now)
    return starting, (timer,)


def become_ready(child: Child, now: float) -> Step:
    """It works; from now on the time counts after which earlier failures are forgotten."""
    well = replace(child, state="ready", probe_failures=0, reason=None)
    ready, timer = armed(well, "stable", child.rules.restart.stable_after_s, now)
    return ready, (timer,)


def charge(child: Child, outcome: Outcome, now: float) -> Step:
    """End a running child that has failed."""
    return begin_stop(replace(child, charge=outcome), now)


def diagnose_first(child: Child, outcome: Outcome, text: str, now: float) -> Step:
    """End a running child that hangs, once it has been looked at."""
    hung = replace(child, state="stopping", charge=outcome, reason=text)
    stopping, timer = armed(hung, "diagnosis", DIAGNOSIS_LIMIT_S, now)
    return stopping, (StopProbe(), Diagnose(text), timer)


def begin_stop(child: Child, now: float) -> Step:
    """Ask a running child to end; one whose spawn is in flight is asked when it is there."""
    stopping, timer = armed(replace(child, state="stopping"), "grace", child.rules.grace_s, now)
    return stopping, (timer,) if child.spawning else (StopProbe(), Terminate(), timer)


def terminate(child: Child, now: float) -> Step:
    """Send the stop signal to a stopping child; its grace period begins."""
    stopping, timer = armed(child, "grace", child.rules.grace_s, now)
    return stopping, (Terminate(), timer)


def settle(child: Child, now: float, jitter: float) -> Step:
    """Nothing of this generation lives any more: what now?"""
    over = untimed(replace(child, pid=None, leader_exited=False, killed=False))
    if not child.desired_up:
        return replace(over, state="stopped", reason=None, charge=None), (CancelTimer(),)
    if child.charge is None:
        return launch(replace(over, reason=None), now)
    failures = child.failures + has_failed(child.rules.restart, child.charge)
    verdict = decide(child.rules.restart, child.charge, max(failures, 1), jitter)
    over = replace(over, failures=failures)
    match verdict:
        case RestartAfter(delay_s):
            waiting, timer = armed(replace(over, state="backoff"), "backoff", delay_s, now)
            return waiting, (timer,)
        case GiveUp(reason):
            text = reason if child.reason is None else f"{reason} ({child.reason})"
            return replace(over, state="failed", reason=text), (CancelTimer(),)
        case Finish():
            return replace(over, state="stopped"), (CancelTimer(),)


def armed(child: Child, kind: TimerKind, delay_s: float, now: float) -> tuple[Child, SetTimer]:
    """The child with a timer of `kind` that is due in `delay_s`, and the effect that sets it."""
    return replace(child, timer=kind, due_at=now + delay_s), SetTimer(kind, delay_s)


def untimed(child: Child) -> Child:
    """The child without a timer."""
    return replace(child, timer=None, due_at=None)
