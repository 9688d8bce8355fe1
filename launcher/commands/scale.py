"""`lucid-launch scale`."""

import asyncio
import sys
from collections.abc import Mapping

import click

from launcher.commands.actions import ACTION_SCHEMA, tell_action
from launcher.commands.arguments import complete_services, json_option, timeout_option
from launcher.commands.following import reach
from launcher.commands.goals import ready_goal
from launcher.commands.status import check_services
from launcher.control_client import connect
from launcher.invocation import Invocation
from launcher.terminal.event_lines import EventLines


@click.command(short_help="Change how many replicas of a service run.")
@click.argument("wanted", metavar="SVC=N...", nargs=-1, required=True, shell_complete=complete_services)
@click.option("--wait", is_flag=True, help="Return when all of them are ready.")
@timeout_option("Wait at most this long; exit code 124 after it.")
@json_option(ACTION_SCHEMA)
@click.pass_obj
def command(
    invocation: Invocation, wanted: tuple[str, ...], wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Run N replicas of a service, until the next `up` goes by the file again.

    Replicas that run already are not restarted; new ones get the next ports of the range.
    """
    counts = dict(replica_count(word) for word in wanted)
    waits = wait or timeout is not None
    asyncio.run(_scale(invocation, counts, waits, timeout))
    if as_json:
        tell_action(invocation, "scale", list(counts), is_done=waits)
    return 0


def replica_count(word: str) -> tuple[str, int]:
    """The service and its number of replicas from `SVC=N`; a usage error for anything else."""
    service, equals, number = word.partition("=")
    if not equals or not service or not number.isdecimal() or int(number) == 0:
        raise click.UsageError(f"'{word}' is not SVC=N with N from 1; to have none, use  lucid-launch stop")
    return service, int(number)


async def _scale(
    invocation: Invocation, counts: Mapping[str, int], wait: bool, timeout_s: float | None
) -> None:
    output = invocation.output
    async with connect(invocation.config_path()) as control:
        check_services((await control.request("snapshot"))["snapshot"], list(counts))
        for service, replicas in counts.items():
            reply = await control.request("scale", service=service, replicas=replicas)
            for note in reply.get("notes") or []:
                output.warn(str(note))
            kinds = {action["action"] for action in reply.get("actions") or []}
            changed = "" if kinds - {"keep"} else ", as before"
            output.note(f"{service}: {replicas} {'replica' if replicas == 1 else 'replicas'}{changed}")
        if wait:
            await control.request("subscribe", events=True)
            await reach(
                control,
                ready_goal(list(counts)),
                timeout_s,
                EventLines(output.note, ascii_only=output.is_ascii(sys.stderr)),
            )
