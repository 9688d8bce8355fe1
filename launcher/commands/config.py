"""`lucid-launch config check | show | schema`: is the file right, what does it come to, what may stand in it.

Starts nothing but the servers' own check of their options.
"""

import json
import os

import click

from launcher.commands.arguments import json_option
from launcher.invocation import Invocation

__all__ = ["command"]


@click.group(name="config")
def command() -> None:
    """Check, show, or describe config.yaml."""


@command.command()
@json_option("lucid.check/1")
@click.pass_obj
def check(invocation: Invocation, as_json: bool) -> int:
    """Find every mistake of the file, each with its line; start nothing.

    Also asks the built-in servers about their options, and looks for programs, folders and models. Exit
    code 0 when all is well, 2 for mistakes in the file, 6 for what this machine lacks.
    """
    from launcher.config import load_config
    from launcher.planning.preflight import check_environment

    config = load_config(invocation.config_path(), invocation.environ)
    services = [service for service in config.services.values() if service.enabled]
    check_environment(config, services, invocation.environ)
    if as_json:
        document = {
            "schema": "lucid.check/1",
            "ok": True,
            "path": str(config.path),
            "services": [*config.services],
        }
        invocation.output.data(json.dumps(document, ensure_ascii=False, indent=2))
        return 0
    names = ", ".join(config.services)
    count = len(config.services)
    invocation.output.text(f"{config.path.name} is right: {count} service{'s' * (count != 1)} ({names})")
    return 0


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One document, schema lucid.config/1.")
@click.pass_obj
def show(invocation: Invocation, as_json: bool) -> int:
    """Print the file with every default filled in, and where each value came from.

    Secrets are shown as ***. The output is itself a valid config.yaml.
    """
    from launcher.config import load_config
    from launcher.config_view import resolved_document, yaml_lines

    config = load_config(invocation.config_path(), invocation.environ)
    if as_json:
        document = resolved_document(config, invocation.environ)
        invocation.output.data(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        invocation.output.data(os.linesep.join(yaml_lines(config, invocation.environ)))
    return 0


@command.command()
@click.pass_obj
def schema(invocation: Invocation) -> int:
    """Print the JSON Schema of config.yaml, for editors."""
    from launcher.configuration.schema import config_schema

    invocation.output.data(json.dumps(config_schema(), ensure_ascii=False, indent=2))
    return 0
