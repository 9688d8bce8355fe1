"""`lucid-launch reload`: read the file again, or let another supervisor process take over."""

import asyncio
import json
import os
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from launcher.commands.arguments import json_option, timeout_option
from launcher.commands.bring_up import tell_actions
from launcher.control_client import connect, fetch_status
from launcher.errors import SupervisorFailed, TimedOut
from launcher.invocation import Invocation
from launcher.terminal.sanitize import clean

RELOAD_SCHEMA = "lucid.reload/1"
DEFAULT_TIMEOUT_S = 120.0


@click.command(short_help="Read the file again, or replace the supervisor.")
@click.option(
    "--self", "itself", is_flag=True, help="Let another supervisor process take over, as after an upgrade."
)
@timeout_option("Wait at most this long; exit code 124 after it.")
@json_option(RELOAD_SCHEMA)
@click.pass_obj
def command(invocation: Invocation, itself: bool, timeout: float | None, as_json: bool) -> int:
    """Bring a running stack in line with the file: only what changed restarts; a bad file changes nothing.

    With --self the file is left alone: the supervisor is replaced by a new process of the installed version,
    and every service goes on untouched.
    """
    config_path, output = invocation.config_path(), invocation.output
    limit_s = DEFAULT_TIMEOUT_S if timeout is None else timeout
    document: dict[str, Any] = {"schema": RELOAD_SCHEMA, "replaced": None, "actions": [], "notes": []}
    if itself:
        document["replaced"] = replaced = replace_supervisor(config_path, limit_s)
        output.note(_sentence(replaced))
    else:
        reply = asyncio.run(_reconcile(config_path, limit_s))
        tell_actions(reply, output)
        document |= {"actions": reply.get("actions") or [], "notes": reply.get("notes") or []}
    if as_json:
        output.data(json.dumps(document, ensure_ascii=False, indent=2))
    return 0


async def _reconcile(config_path: Path, limit_s: float) -> Mapping[str, Any]:
    """What the supervisor did about the file; raises ConfigInvalid, PortInUse … as it answers."""
    try:
        async with asyncio.timeout(limit_s), connect(config_path) as control:
            return await control.request("up", services=[])
    except TimeoutError:
        raise _timed_out("the file was not taken over", limit_s) from None


def replace_supervisor(config_path: Path, limit_s: float) -> dict[str, Any]:
    """Let another supervisor take over, and return how that went once it answers.

    Raises NotRunning, ActionFailed when the new one could not be loaded (the old one goes on), TimedOut.
    """
    deadline = time.monotonic() + limit_s
    before = fetch_status(config_path)["supervisor"]
    pidfd = os.pidfd_open(before["pid"])
    try:
        asyncio.run(_ask_to_leave(config_path, limit_s))
        left_at = time.monotonic()
        if not select.select([pidfd], [], [], max(0.0, deadline - left_at))[0]:
            raise _timed_out(f"the supervisor (pid {before['pid']}) is still there", limit_s)
    finally:
        os.close(pidfd)
    status = _next_status(config_path, deadline, limit_s)
    after, children = status["supervisor"], _running_children(status)
    return {
        "before": {"pid": before["pid"], "version": before["version"]},
        "after": {"pid": after["pid"], "version": after["version"]},
        "took_s": round(time.monotonic() - left_at, 3),
        "children": children,
    }


async def _ask_to_leave(config_path: Path, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s), connect(config_path) as control:
            await control.request("reload_self")
    except TimeoutError:
        raise _timed_out("the supervisor did not answer", limit_s) from None


def _next_status(config_path: Path, deadline: float, limit_s: float) -> dict[str, Any]:
    """The status that the next supervisor tells; the socket stays open meanwhile, and we wait in line."""
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            return fetch_status(config_path, left_s)
        except SupervisorFailed:
            # One that took over and died; the guardian starts another, or closes the socket for good.
            continue
    raise _timed_out("no other supervisor answers", limit_s)


def _running_children(status: Mapping[str, Any]) -> int:
    children = (child for service in status["services"].values() for child in service["children"])
    return sum(child["pid"] is not None for child in children)


def _sentence(replaced: Mapping[str, Any]) -> str:
    before, after, count = replaced["before"], replaced["after"], replaced["children"]
    versions = (
        f"version {clean(after['version'])}"
        if before["version"] == after["version"]
        else f"version {clean(before['version'])} -> {clean(after['version'])}"
    )
    untouched = "1 process goes" if count == 1 else f"{count} processes go"
    return (
        f"the supervisor was replaced in {replaced['took_s'] * 1000:.0f} ms (pid {before['pid']} -> "
        f"{after['pid']}, {versions}); {untouched} on untouched"
    )


def _timed_out(what: str, limit_s: float) -> TimedOut:
    return TimedOut(f"{what} within {limit_s:g} s", hint="see  lucid-launch status")
