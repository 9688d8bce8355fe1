"""Waits on the control socket for a goal, with a time limit, telling a progress display what comes by."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from launcher.commands.goals import Goal, Verdict
from launcher.control_client import ControlClient
from launcher.errors import ActionFailed, SupervisorFailed, TimedOut
from launcher.terminal.reasons import reason_lines


class Progress(Protocol):
    """Shows a person what happens while a verb waits."""

    def snapshot(self, document: Mapping[str, Any]) -> None:
        """A new picture of the stack."""

    def event(self, event: Mapping[str, Any]) -> None:
        """A state change."""

    def close(self) -> None:
        """Nothing more will come."""


async def reach(
    control: ControlClient,
    goal: Goal,
    timeout_s: float | None,
    progress: Progress,
    *,
    end_counts: bool = False,
) -> None:
    """Return when `goal` is reached on a subscribed connection; with `end_counts` the end of the stack is
    that.

    Raises ActionFailed with reasons and last stderr lines when it is out of reach, TimedOut after `timeout_s`
    seconds, SupervisorFailed when the supervisor ends first.
    """
    verdict = Verdict()
    try:
        async with asyncio.timeout(timeout_s):
            async for verdict in _verdicts(control, goal, progress):
                if verdict.is_reached or verdict.failed:
                    break
            else:
                if not end_counts:
                    raise SupervisorFailed("the supervisor ended while it was waited for")
    except TimeoutError:
        names = ", ".join(verdict.open) or "the stack"
        raise TimedOut(
            f"{names} did not get there within {timeout_s:g} s",
            hint="it goes on in the background; see  lucid-launch status",
        ) from None
    finally:
        progress.close()
    if verdict.failed:
        raise ActionFailed("\n".join(line for child in verdict.failed for line in reason_lines(child)))


async def _verdicts(control: ControlClient, goal: Goal, progress: Progress) -> AsyncIterator[Verdict]:
    """What the goal says of each snapshot, until the supervisor ends; the progress is told all of it."""
    async for frame in control.frames():
        if frame.get("type") == "event":
            progress.event(frame["event"])
        else:
            progress.snapshot(frame["snapshot"])
            yield goal(frame["snapshot"])
