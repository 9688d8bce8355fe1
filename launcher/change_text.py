"""The sentence that tells a person what a change of state means. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.lifecycle_values import Child

__all__ = ["describe_change"]


def describe_change(before: Child, after: Child, missing: Sequence[str], next_retry_s: float | None) -> str:
    """Return one sentence without a full stop; `missing` are the dependencies that a waiting child lacks."""
    match after.state:
        case "waiting":
            return f"waits for {', '.join(missing) or 'its dependencies'}"
        case "starting":
            return f"starts generation {after.generation}"
        case "ready":
            return "is well again" if before.state == "unhealthy" else f"is ready, pid {after.pid}"
        case "unhealthy":
            return f"is unhealthy: {after.reason}"
        case "backoff":
            limit = after.rules.restart.max_failures
            count = f"failure {after.failures} of {limit}" if limit else f"failure {after.failures}"
            return f"ended: {after.reason}; next try in {next_retry_s or 0.0:.2g} s ({count})"
        case "stopping":
            return f"is being stopped: {after.reason or 'stop requested'}"
        case "failed":
            return f"failed: {after.reason}"
        case "stopped":
            return f"ended and is done: {after.reason}" if after.desired_up else "is stopped"
