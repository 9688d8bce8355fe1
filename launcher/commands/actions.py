"""What `start`, `stop` and `restart` share: one command to the supervisor, then waiting if asked to."""

import asyncio
from collections.abc import Sequence

from launcher.commands.following import reach
from launcher.commands.goals import AT_REST, Document, Goal, generations, ready_goal, stopped_goal
from launcher.commands.status import check_services
from launcher.control_client import connect
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines


def act(
    invocation: Invocation, kind: str, services: Sequence[str], *, wait: bool, timeout_s: float | None
) -> int:
    """Ask the supervisor to start, stop or restart `services`; with `wait`, return when that is done.

    Raises NoSuchService for an unknown name before anything is asked for.
    """
    asyncio.run(_act(invocation, kind, services, wait or timeout_s is not None, timeout_s))
    return 0


async def _act(
    invocation: Invocation, kind: str, services: Sequence[str], wait: bool, timeout_s: float | None
) -> None:
    """Check, ask, wait."""
    output = invocation.output
    async with connect(invocation.config_path()) as control:
        document = (await control.request("snapshot"))["snapshot"]
        check_services(document, services)
        goal = _goal(kind, services, document)
        reply = await control.request(kind, services=list(services))
        for note in reply.get("notes") or []:
            output.note(str(note))
        if not wait:
            output.note(f"{kind} asked for: {', '.join(services)}")
            return
        await control.request("subscribe", events=True)
        await reach(control, goal, timeout_s, EventLines(output.note))


def _goal(kind: str, services: Sequence[str], before: Document) -> Goal:
    """When the action is done; a child that must start anew is told from the one `before` by its
    generation.
    """
    if kind == "stop":
        return stopped_goal(services)
    anew = generations(before, services, () if kind == "restart" else AT_REST)
    return ready_goal(services, anew)
