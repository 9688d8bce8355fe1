"""`lucid-launch start`."""

import click

from launcher.commands.actions import ACTION_SCHEMA, act
from launcher.commands.arguments import json_option, services_argument, timeout_option
from launcher.invocation import Invocation


@click.command(short_help="Start services.")
@services_argument(required=True)
@click.option("--wait", is_flag=True, help="Return when they are ready.")
@timeout_option("Wait at most this long; exit code 124 after it.")
@json_option(ACTION_SCHEMA)
@click.pass_obj
def command(
    invocation: Invocation, services: tuple[str, ...], wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Start services that are stopped or have given up."""
    return act(invocation, "start", services, wait=wait, timeout_s=timeout, as_json=as_json)
