"""What is told of a change of state: a phrase for people, to be read after the name of the state, and the
cause as a word for programs. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.lifecycle_values import (
    Child,
    DependenciesMet,
    Event,
    LimitExceeded,
    ProbeSucceeded,
    RestartRequested,
    Spawned,
    StartRequested,
    StopRequested,
    TimerFired,
)

__all__ = ["cause_of", "describe_change"]

_CAUSES: dict[type, str] = {
    StartRequested: "start_requested",
    StopRequested: "stop_requested",
    RestartRequested: "restart_requested",
    DependenciesMet: "dependencies_met",
    Spawned: "spawned",
    ProbeSucceeded: "probe_succeeded",
}


def cause_of(event: Event, after: Child) -> str:
    """Return why a child changed: what was asked, `restart_policy`, or a reason of launcher.md section 4.

    `probe_failed` is a failure below the threshold; an end that was asked for keeps the name of the request.
    """
    known = _CAUSES.get(type(event))
    if known is not None:
        return known
    if isinstance(event, LimitExceeded):
        return event.reason
    if isinstance(event, TimerFired) and event.kind == "backoff":
        return "restart_policy"
    if after.state == "unhealthy":
        return "probe_failed"
    if after.charge is not None:
        return after.charge.reason
    return "restart_requested" if after.desired_up else "stop_requested"


def describe_change(before: Child, after: Child, missing: Sequence[str], next_retry_s: float | None) -> str:
    """Return a phrase that follows `<child> <state>: `; `missing` are the dependencies that a waiting child
    lacks.
    """
    match after.state:
        case "waiting":
            return f"for {', '.join(missing) or 'its dependencies'}"
        case "starting":
            return f"generation {after.generation}"
        case "ready":
            return f"well again, pid {after.pid}" if before.state == "unhealthy" else f"pid {after.pid}"
        case "backoff":
            limit = after.rules.restart.max_failures
            count = f"failure {after.failures} of {limit}" if limit else f"failure {after.failures}"
            return f"{after.reason}; next try in {next_retry_s or 0.0:.2g} s ({count})"
        case "stopped":
            return f"it is done: {after.reason}" if after.desired_up else "as asked"
        case _:
            return after.reason or "as asked"
