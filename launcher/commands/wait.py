"""`lucid-launch wait`: return when services are ready, or stopped."""

import asyncio
import sys
from collections.abc import Sequence

import click

from launcher.commands.actions import ACTION_SCHEMA, tell_action
from launcher.commands.arguments import json_option, services_argument, timeout_option
from launcher.commands.following import reach
from launcher.commands.goals import ready_goal, stopped_goal
from launcher.commands.status import check_services
from launcher.control_client import connect
from launcher.errors import NotRunning
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines


@click.command(short_help="Wait until services are ready, or stopped.")
@services_argument()
@click.option("--for", "target", type=click.Choice(["ready", "stopped"]), default="ready", show_default=True)
@timeout_option("Wait at most this long; exit code 124 after it.")
@json_option(ACTION_SCHEMA)
@click.pass_obj
def command(
    invocation: Invocation, services: tuple[str, ...], target: str, timeout: float | None, as_json: bool
) -> int:
    """Return when every named service (with none named: every wanted one) is ready, or stopped.

    Exit code 1 as soon as one has failed, 124 when the time is up, 3 when nothing runs.
    """
    try:
        asyncio.run(_wait(invocation, services, target, timeout))
    except NotRunning as error:
        if target == "ready":
            raise
        invocation.output.note(f"{error}: everything is stopped")
    if as_json:
        tell_action(invocation, "wait", services, is_done=True)
    return 0


async def _wait(
    invocation: Invocation, services: Sequence[str], target: str, timeout_s: float | None
) -> None:
    """Subscribe and wait for the goal."""
    goal = ready_goal(services) if target == "ready" else stopped_goal(services)
    async with connect(invocation.config_path()) as control:
        document = (await control.request("snapshot"))["snapshot"]
        check_services(document, services)
        await control.request("subscribe", events=True)
        progress = EventLines(invocation.output.note, ascii_only=invocation.output.is_ascii(sys.stderr))
        await reach(control, goal, timeout_s, progress, end_counts=target == "stopped")
