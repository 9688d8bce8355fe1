"""`lucid-launch down`: stop everything in reverse order, then the supervisor, and return when all is gone."""

import asyncio
import sys
import time
from pathlib import Path

import click

from launcher.commands.actions import ACTION_SCHEMA, tell_action
from launcher.commands.arguments import json_option, timeout_option
from launcher.commands.owner import find_owner
from launcher.control_client import connect
from launcher.errors import NotRunning, SupervisorFailed, TimedOut
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines
from launcher.terminal.output import Output

# What the supervisor may need beyond the time it was given, to kill what is left and to end itself.
MARGIN_S = 10.0
DEFAULT_TIMEOUT_S = 120.0


@click.command(short_help="Stop every service, then the supervisor.")
@timeout_option("Give the services at most this long to end before they are killed.")
@json_option(ACTION_SCHEMA)
@click.pass_obj
def command(invocation: Invocation, timeout: float | None, as_json: bool) -> int:
    """Stop every service in reverse order of dependence, then the supervisor.

    Returns when all processes are gone. Nothing running is no error.
    """
    config_path = invocation.config_path()
    try:
        take_down(config_path, invocation.output, timeout)
    except NotRunning as error:
        invocation.output.note(f"{error}; nothing to stop")
    if as_json:
        tell_action(invocation, "down", (), is_done=True)
    return 0


def take_down(config_path: Path, output: Output, timeout_s: float | None) -> None:
    """Stop the stack and wait for its supervisor's end; raises NotRunning, TimedOut.

    `timeout_s` bounds the stopping of the services; what is still alive then is killed.
    """
    owner = find_owner(config_path)
    if owner is None:
        raise NotRunning(str(config_path))
    try:
        deadline = time.monotonic() + (DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s + MARGIN_S)
        asyncio.run(_ask(config_path, output, timeout_s, deadline))
        if not owner.wait_gone(deadline - time.monotonic()):
            raise TimedOut(
                f"the supervisor (pid {owner.pid}) is still there",
                hint=f"see  lucid-launch status , or end it with  kill -9 {owner.pid}",
            )
    finally:
        owner.close()
    output.note("everything is stopped")


async def _ask(config_path: Path, output: Output, timeout_s: float | None, deadline: float) -> None:
    """Send the command and tell what stops until the supervisor closes the connection."""
    progress = EventLines(output.note, ascii_only=output.is_ascii(sys.stderr))
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())), connect(config_path) as control:
            await control.request("subscribe", events=True)
            await control.request("down", **({} if timeout_s is None else {"timeout_s": timeout_s}))
            async for frame in control.frames():
                if frame.get("type") == "event":
                    progress.event(frame["event"])
    except (NotRunning, SupervisorFailed, TimeoutError):
        # The end of the process decides, not the manner in which it let go of the connection.
        return
