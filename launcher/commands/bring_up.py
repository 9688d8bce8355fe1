"""The first half of `up`: start a supervisor, or bring a running one in line with the file, and say what
was done.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.commands.goals import generations
from launcher.commands.owner import find_owner
from launcher.control_client import connect, fetch_status, start_supervisor
from launcher.errors import AlreadyOwned, LauncherError, NotRunning
from launcher.terminal.output import Output
from launcher.terminal.sanitize import clean

# The report comes when ports are bound; checking the options of a server takes the longest before that.
REPORT_TIMEOUT_S = 120.0
ENDING_TIMEOUT_S = 30.0
ASK_AGAIN_S = 0.1


@dataclass(frozen=True)
class BroughtUp:
    """What came of it: whether this call started the supervisor, and which children must become new ones.

    `actions` and `notes` are the supervisor's own words.
    """

    started: bool
    anew: Mapping[str, int]
    actions: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


def bring_up(
    config_path: Path, services: Sequence[str], strict_ports: bool, timeout_s: float | None, output: Output
) -> BroughtUp:
    """Start or reconcile; every note, fallback and change is written to stderr.

    Raises whatever the supervisor answers: ConfigInvalid, PortInUse, NoSuchService …
    """
    if not _is_running(config_path):
        report = _start(config_path, services, strict_ports, timeout_s or REPORT_TIMEOUT_S)
        if report is not None:
            tell_report(report, output)
            fresh = dict.fromkeys(str(entry["service"]) for entry in report.get("plan") or [])
            actions = [{"service": each, "action": "start", "reason": "it does not run"} for each in fresh]
            return BroughtUp(True, {}, actions, list(map(str, report.get("notes") or [])))
    return asyncio.run(_reconcile(config_path, services, strict_ports, output))


def _is_running(config_path: Path) -> bool:
    """Whether a supervisor answers."""
    try:
        fetch_status(config_path)
    except NotRunning:
        return False
    return True


def _start(
    config_path: Path, services: Sequence[str], strict_ports: bool, timeout_s: float
) -> Mapping[str, Any] | None:
    """Start a supervisor and return its report; None when another one was faster.

    One that is just ending still owns the project: then its end is waited for, and the start tried once more.
    So does one that is just starting, and is waited for until it answers.
    """
    for is_last in (False, True):
        try:
            return start_supervisor(config_path, services, strict_ports, timeout_s)
        except LauncherError as error:
            if error.code != AlreadyOwned.code or is_last:
                raise
        if _owner_answers(config_path):
            return None
    return None


def _owner_answers(config_path: Path) -> bool:
    """Whether the owner of the project comes to answer; False when it is gone, or does neither in time."""
    owner = find_owner(config_path)
    if owner is None:
        return _is_running(config_path)
    deadline = time.monotonic() + ENDING_TIMEOUT_S
    try:
        while not _is_running(config_path):
            # It tells nobody but its own `up` when it is there, so it has to be asked; its end is an event.
            if owner.wait_gone(ASK_AGAIN_S) or time.monotonic() > deadline:
                return False
        return True
    finally:
        owner.close()


async def _reconcile(
    config_path: Path, services: Sequence[str], strict_ports: bool, output: Output
) -> BroughtUp:
    """Ask the running supervisor to follow the file."""
    async with connect(config_path) as control:
        before = (await control.request("snapshot"))["snapshot"]
        reply = await control.request("up", services=list(services), strict_ports=strict_ports)
    changed = tell_actions(reply, output)
    notes = list(map(str, reply.get("notes") or []))
    return BroughtUp(False, generations(before, changed), reply.get("actions") or [], notes)


def tell_actions(reply: Mapping[str, Any], output: Output) -> list[str]:
    """Say what a running stack changes; returns the services that start or restart."""
    for note in reply.get("notes") or []:
        tell_note(str(note), output)
    actions = [action for action in reply.get("actions") or [] if action["action"] != "keep"]
    for action in actions:
        reason = f": {clean(str(action['reason']))}" if action.get("reason") else ""
        output.note(f"{action['action']} {clean(str(action['service']))}{reason}")
    if not actions:
        output.note("already running; nothing to change")
    return [action["service"] for action in actions if action["action"] in ("start", "restart")]


def tell_note(note: str, output: Output) -> None:
    """Pass on what the supervisor noticed; that a GPU service runs on the CPU is a warning."""
    if "on the CPU" in note:
        output.warn(clean(note))
    else:
        output.note(clean(note))


def tell_report(report: Mapping[str, Any], output: Output) -> None:
    """Say what the new supervisor found, cleaned, reserved, and could not have as first choice."""
    for note in report.get("notes") or []:
        tell_note(str(note), output)
    plan = report.get("plan") or []
    ports = sorted({entry["port"] for entry in plan if entry.get("port") is not None})
    if ports:
        output.note(f"ports {', '.join(map(str, ports))} reserved")
    for entry in plan:
        if entry.get("fallback_port"):
            output.warn(
                f"{clean(str(entry['service']))} listens on {entry['port']}, not on the first port of its"
                " range; clients that only know the first one will not find it"
            )
