"""What a person is told of a change of state, to be read after the name of the state. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.lifecycle_values import Child

__all__ = ["describe_change"]


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
