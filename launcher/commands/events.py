"""`lucid-launch events`: state changes, one a line; the supervisor remembers the last 1000."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from launcher.commands.arguments import read_when
from launcher.control_client import connect
from launcher.invocation import Invocation
from launcher.terminal.event_lines import event_line


@click.command(short_help="Show state changes, one a line.")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with what comes until Ctrl-C or the end of the stack."
)
@click.option("--since", callback=read_when, metavar="T", help="From this time on: 10m, 1h30m, or ISO 8601.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def command(invocation: Invocation, follow: bool, since: str, as_json: bool) -> int:
    """Show state changes, oldest first."""
    asyncio.run(_events(invocation, follow, since, as_json))
    return 0


async def _events(invocation: Invocation, follow: bool, since: str, as_json: bool) -> None:
    """Print what is remembered, then what comes."""
    async with connect(invocation.config_path()) as control:
        if follow:
            # Subscribed before the past is asked for, so that nothing falls between the two.
            await control.request("subscribe", events=True)
        last_revision = -1
        for event in (await control.request("events"))["events"]:
            if str(event.get("at", "")) >= since:  # stamps of one form sort as they are
                _show(invocation, event, as_json)
            last_revision = max(last_revision, int(event.get("revision", -1)))
        if not follow:
            return
        async for frame in control.frames():
            if frame.get("type") == "event" and int(frame["event"].get("revision", 0)) > last_revision:
                _show(invocation, frame["event"], as_json)
    invocation.output.note("the stack ended")


def _show(invocation: Invocation, event: Mapping[str, Any], as_json: bool) -> None:
    """Print one event at once."""
    ascii_only = invocation.output.is_ascii(sys.stdout)
    invocation.output.data(json.dumps(event) if as_json else event_line(event, ascii_only=ascii_only))
