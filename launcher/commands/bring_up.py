"""The first half of `up`: start a supervisor, or bring a running one in line with the file, and say what was done."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.commands.goals import generations
from launcher.control_client import connect, fetch_status, start_supervisor
from launcher.errors import LauncherError, NotRunning
from launcher.terminal.output import Output
from launcher.terminal.sanitize import clean

# The report comes when ports are bound; checking the options of a server takes the longest before that.
REPORT_TIMEOUT_S = 120.0
OWNED_CODE = "E_RUNNING"


@dataclass(frozen=True)
class BroughtUp:
    """What came of it: whether this call started the supervisor, and which children must become new ones."""

    started: bool
    anew: Mapping[str, int]


def bring_up(
    config_path: Path, services: Sequence[str], strict_ports: bool, timeout_s: float | None, output: Output
) -> BroughtUp:
    """Start or reconcile; every note, fallback and change is written to stderr.

    Raises whatever the supervisor answers: ConfigInvalid, PortInUse, NoSuchService …
    """
    try:
        fetch_status(config_path)
    except NotRunning:
        try:
            report = start_supervisor(config_path, services, strict_ports, timeout_s or REPORT_TIMEOUT_S)
        except LauncherError as error:
            # Somebody else's `up` was faster between the two calls: then there is a stack to bring in line.
            if error.code != OWNED_CODE:
                raise
            fetch_status(config_path)
        else:
            tell_report(report, output)
            return BroughtUp(started=True, anew={})
    return asyncio.run(_reconcile(config_path, services, strict_ports, output))


async def _reconcile(
    config_path: Path, services: Sequence[str], strict_ports: bool, output: Output
) -> BroughtUp:
    """Ask the running supervisor to follow the file."""
    async with connect(config_path) as control:
        before = (await control.request("snapshot"))["snapshot"]
        reply = await control.request("up", services=list(services), strict_ports=strict_ports)
    changed = tell_actions(reply, output)
    return BroughtUp(started=False, anew=generations(before, changed))


def tell_actions(reply: Mapping[str, Any], output: Output) -> list[str]:
    """Say what a running stack changes; returns the services that start or restart."""
    for note in reply.get("notes") or []:
        output.note(clean(str(note)))
    actions = [action for action in reply.get("actions") or [] if action["action"] != "keep"]
    for action in actions:
        reason = f": {clean(str(action['reason']))}" if action.get("reason") else ""
        output.note(f"{action['action']} {clean(str(action['service']))}{reason}")
    if not actions:
        output.note("already running; nothing to change")
    return [action["service"] for action in actions if action["action"] in ("start", "restart")]


def tell_report(report: Mapping[str, Any], output: Output) -> None:
    """Say what the new supervisor found, cleaned, reserved, and could not have as first choice."""
    for note in report.get("notes") or []:
        output.note(clean(str(note)))
    plan = report.get("plan") or []
    ports = sorted({entry["port"] for entry in plan if entry.get("port") is not None})
    if ports:
        output.note(f"ports {', '.join(map(str, ports))} reserved")
    for entry in plan:
        if entry.get("fallback_port"):
            output.warn(
                f"{clean(str(entry['service']))} listens on {entry['port']}, not on the first port of its range;"
                " clients that only know the first one will not find it"
            )
