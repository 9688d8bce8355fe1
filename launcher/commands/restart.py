"""`lucid-launch restart`."""

import click

from launcher.commands.actions import ACTION_SCHEMA, act
from launcher.commands.arguments import json_option, services_argument, timeout_option
from launcher.invocation import Invocation


@click.command(short_help="Restart services.")
@services_argument(required=True)
@click.option("--wait", is_flag=True, help="Return when they are ready again.")
@timeout_option("Wait at most this long; exit code 124 after it.")
@json_option(ACTION_SCHEMA)
@click.pass_obj
def command(
    invocation: Invocation, services: tuple[str, ...], wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Restart services with the settings that the file holds now.

    With several replicas one at a time is replaced, so that the others go on serving."""
    return act(invocation, "restart", services, wait=wait, timeout_s=timeout, as_json=as_json)
