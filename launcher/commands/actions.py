"""What `start`, `stop` and `restart` share: one command to the supervisor, then waiting if asked to."""

import asyncio
import json
import sys
from collections.abc import Sequence

from launcher.commands.following import reach
from launcher.commands.goals import AT_REST, Document, Goal, generations, ready_goal, stopped_goal
from launcher.commands.status import check_services
from launcher.control_client import connect
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines

ACTION_SCHEMA = "lucid.action/1"


def act(
    invocation: Invocation,
    kind: str,
    services: Sequence[str],
    *,
    wait: bool,
    timeout_s: float | None,
    as_json: bool = False,
) -> int:
    """Ask the supervisor to start, stop or restart `services`; with `wait`, return when that is done.

    Raises NoSuchService for an unknown name, and then nothing is done.
    """
    waits = wait or timeout_s is not None
    asyncio.run(_act(invocation, kind, services, waits, timeout_s))
    if as_json:
        tell_action(invocation, kind, services, is_done=waits)
    return 0


def tell_action(invocation: Invocation, kind: str, services: Sequence[str], *, is_done: bool) -> None:
    """Print what was asked for as a document; not `is_done`: it was accepted and goes on by itself."""
    document = {"schema": ACTION_SCHEMA, "action": kind, "services": list(services), "done": is_done}
    invocation.output.data(json.dumps(document, indent=2))


async def _act(
    invocation: Invocation, kind: str, services: Sequence[str], wait: bool, timeout_s: float | None
) -> None:
    """Check, ask, wait."""
    output = invocation.output
    async with connect(invocation.config_path()) as control:
        document = (await control.request("snapshot"))["snapshot"]
        if kind == "stop":
            # What the file may have got since it was read last, the supervisor sees when it reads it anew.
            check_services(document, services)
        goal = _goal(kind, services, document)
        reply = await control.request(kind, services=list(services))
        for note in reply.get("notes") or []:
            output.note(str(note))
        if not wait:
            output.note(f"{kind} asked for: {', '.join(services)}")
            return
        await control.request("subscribe", events=True)
        await reach(control, goal, timeout_s, EventLines(output.note, ascii_only=output.is_ascii(sys.stderr)))


def _goal(kind: str, services: Sequence[str], before: Document) -> Goal:
    """When the action is done; a child that must start anew is told from the one `before` by its
    generation.
    """
    if kind == "stop":
        return stopped_goal(services)
    anew = generations(before, services, () if kind == "restart" else AT_REST)
    return ready_goal(services, anew)
