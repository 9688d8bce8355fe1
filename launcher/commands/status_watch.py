"""`lucid-launch status --watch`: the same table, drawn again whenever the supervisor publishes a snapshot."""

import asyncio
import sys
from collections.abc import Collection

from launcher.commands.status import check_services, exit_code, show
from launcher.control_client import connect
from launcher.invocation import Invocation

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def watch_status(invocation: Invocation, services: Collection[str], as_json: bool) -> int:
    """Show every snapshot until the stack ends; returns the exit code of the last one."""
    return asyncio.run(_watch(invocation, services, as_json))


async def _watch(invocation: Invocation, services: Collection[str], as_json: bool) -> int:
    """Subscribe and draw."""
    code = 0
    redraws = invocation.output.is_live(sys.stdout) and not as_json
    async with connect(invocation.config_path()) as control:
        await control.request("subscribe", events=False)
        async for frame in control.frames():
            if frame.get("type") != "snapshot":
                continue
            document = frame["snapshot"]
            check_services(document, services)
            if redraws:
                sys.stdout.write(_HOME_AND_CLEAR)
            show(invocation, document, services, as_json)
            sys.stdout.flush()
            code = exit_code(document, services)
    invocation.output.note("the stack ended")
    return code
