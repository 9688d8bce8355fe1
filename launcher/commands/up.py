"""`lucid-launch up`: start the stack or bring it in line with the file, then watch it in the way that
fits.
"""

import asyncio
import json
import sys
from pathlib import Path

import click

from launcher.commands.arguments import json_option, services_argument, timeout_option
from launcher.commands.bring_up import ENDING_TIMEOUT_S, BroughtUp, bring_up
from launcher.commands.following import Progress, reach
from launcher.commands.foreground import EXIT_INTERRUPTED, Foreground, termination_interrupts
from launcher.commands.goals import ready_goal
from launcher.commands.owner import find_owner
from launcher.control_client import Document, connect, fetch_status
from launcher.errors import ActionFailed
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines
from launcher.terminal.output import Output
from launcher.terminal.step_list import StepList, address_lines


@click.command(short_help="Start the stack, or bring it in line with the file.")
@services_argument()
@click.option(
    "-d", "--detach", is_flag=True, help="Return when everything is started and its ports are bound."
)
@click.option("--wait", is_flag=True, help="Return when every service is ready.")
@timeout_option("With -d, --wait, or no terminal: exit code 124 after this long.")
@click.option("--foreground", is_flag=True, help="Plain event lines until Ctrl-C, even on a terminal.")
@click.option("--dry-run", is_flag=True, help="Show what would be done (as `plan`), and do nothing.")
@click.option("--strict-ports", is_flag=True, help="A taken first port of a range is an error.")
@json_option("lucid.up/1")
@click.pass_context
def command(
    ctx: click.Context, services: tuple[str, ...], detach: bool, wait: bool, timeout: float | None,
    foreground: bool, dry_run: bool, strict_ports: bool, as_json: bool,
) -> int:  # fmt: skip
    """Start the stack, or bring a running one in line with the file.

    Starts what is missing, restarts only what changed, stops what is gone. On a terminal the dashboard
    follows;
    without one, a line per event until SIGINT or SIGTERM, which stop everything.
    """
    if foreground and (detach or wait):
        raise click.UsageError("--foreground stays; it cannot be used with -d or --wait")
    if as_json and not (detach or wait or dry_run):
        raise click.UsageError("--json is one document at the end; use it with -d, --wait or --dry-run")
    if dry_run:
        return _dry_run(ctx, services, strict_ports, as_json)
    invocation: Invocation = ctx.obj
    config_path, output = invocation.config_path(), invocation.output
    shows_steps = output.is_full_screen() and not (foreground or detach or wait)
    if shows_steps:
        output.note(f"lucid-launch up {'-' if output.is_ascii(sys.stderr) else '·'} {config_path}")
    with termination_interrupts():
        brought = bring_up(config_path, services, strict_ports, timeout, output)
    if wait:
        _wait(config_path, services, brought, timeout, output)
    if wait or detach:
        _tell_outcome(config_path, brought, output, is_ready=wait, as_json=as_json)
        return 0
    if shows_steps:
        return _on_terminal(config_path, services, brought, output)
    return _plain(config_path, brought, timeout, output)


def _dry_run(ctx: click.Context, services: tuple[str, ...], strict_ports: bool, as_json: bool) -> int:
    """What `plan` prints."""
    from launcher.commands import plan

    code: int = ctx.invoke(plan.command, services=services, strict_ports=strict_ports, as_json=as_json)
    return code


def _wait(
    config_path: Path, services: tuple[str, ...], brought: BroughtUp, timeout_s: float | None, output: Output
) -> None:
    """Return when all are ready; the way there is told on stderr."""
    progress = (
        _step_list(output)
        if output.is_live(sys.stderr)
        else EventLines(output.note, ascii_only=output.is_ascii(sys.stderr))
    )
    asyncio.run(_reach_ready(config_path, services, brought, timeout_s, progress))


def _tell_outcome(
    config_path: Path, brought: BroughtUp, output: Output, *, is_ready: bool, as_json: bool
) -> None:
    """Say where the services are and what comes next, or print all of it as a document."""
    document = fetch_status(config_path)
    if as_json:
        services = {
            name: {key: service.get(key) for key in ("state", "port", "url")}
            for name, service in document["services"].items()
        }
        outcome = {
            "schema": "lucid.up/1",
            "started": brought.started,
            "waited": is_ready,
            "actions": list(brought.actions),
            "notes": list(brought.notes),
            "services": services,
        }
        output.data(json.dumps(outcome, ensure_ascii=False, indent=2))
    for line in address_lines(document, is_ready=is_ready, width=output.width(sys.stderr)):
        output.note(line)


async def _reach_ready(
    config_path: Path,
    services: tuple[str, ...],
    brought: BroughtUp,
    timeout_s: float | None,
    progress: Progress,
) -> Document:
    """Wait for every wanted service; returns the status document at that moment."""
    async with connect(config_path) as control:
        await control.request("subscribe", events=True)
        await reach(control, ready_goal(services, brought.anew), timeout_s, progress)
    return fetch_status(config_path)


def _plain(config_path: Path, brought: BroughtUp, timeout_s: float | None, output: Output) -> int:
    """Event lines until a signal, if this call started the stack; else there is nothing more to do here."""
    if not brought.started:
        output.note("it runs in the background; this command did not start it and returns")
        return 0

    async def run() -> int:
        return await Foreground(config_path, output, timeout_s).run()

    owner = find_owner(config_path)
    try:
        return asyncio.run(run())
    finally:
        if owner is not None:
            # So that whoever waits for this command finds the project free.
            owner.wait_gone(ENDING_TIMEOUT_S)
            owner.close()


def _on_terminal(config_path: Path, services: tuple[str, ...], brought: BroughtUp, output: Output) -> int:
    """The step list, then the dashboard; Ctrl-C asks."""
    steps = _step_list(output)
    while True:
        try:
            document = asyncio.run(_reach_ready(config_path, services, brought, None, steps))
        except ActionFailed as failure:
            # The dashboard shows a failed service with its log, which is what one needs now.
            output.error(failure)
            break
        except KeyboardInterrupt:
            if not _wants_to_go_on(config_path, output):
                return EXIT_INTERRUPTED
        else:
            for line in address_lines(document, width=output.width(sys.stderr)):
                output.note(line)
            break
    from launcher.commands.dashboard import show_dashboard

    return show_dashboard(config_path, output)


def _step_list(output: Output) -> StepList:
    """A step list on stderr."""
    return StepList(
        sys.stderr,
        lambda: output.width(sys.stderr) or 80,
        color=output.wants_color(sys.stderr),
        ascii_only=output.is_ascii(sys.stderr),
    )


def _wants_to_go_on(config_path: Path, output: Output) -> bool:
    """Ask what Ctrl-C meant; a second Ctrl-C means stop."""
    question = "stop everything (s), leave it running (l), or go on (c)"
    try:
        answer = click.prompt(
            question, type=click.Choice(["s", "l", "c"]), show_choices=False, default="s", err=True
        )
    except click.Abort:
        output.note("")
        answer = "s"
    if answer == "s":
        from launcher.commands.dashboard import stop_all

        stop_all(config_path, output)
    elif answer == "l":
        output.note("it goes on in the background; come back with  lucid-launch dashboard")
    return bool(answer == "c")
