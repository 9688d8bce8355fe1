"""`lucid-launch plan`: what `up` would do, and why; the ports and GPUs it would use.

Changes nothing: ports are bound for a moment to be sure, and let go.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.commands.arguments import services_argument
from launcher.errors import NotRunning
from launcher.invocation import Invocation

if TYPE_CHECKING:
    from launcher.planning.stack_plan import ChildPlan, StackPlan

__all__ = ["command"]


@click.command(short_help="Show what `up` would do, and why.")
@services_argument()
@click.option("--json", "as_json", is_flag=True, help="One document, schema lucid.plan/1.")
@click.option("--strict-ports", is_flag=True, help="Fail rather than fall back to another port of a range.")
@click.pass_obj
def command(invocation: Invocation, services: tuple[str, ...], as_json: bool, strict_ports: bool) -> int:
    """Show what `up` would start, restart, stop or keep, and why; with the ports and GPUs it would use.

    Fails with what `up` would fail with, and the same exit code.
    """
    from launcher.config import load_config
    from launcher.planning.stack_plan import plan_stack

    path = invocation.config_path()
    config = load_config(path, invocation.environ)
    plan = plan_stack(config, _status(path), invocation.environ, only=services, strict_ports=strict_ports)
    output = invocation.output
    if as_json:
        output.data(json.dumps(plan.to_document(), ensure_ascii=False, indent=2))
        return 0
    for line in _lines(plan):
        output.text(line)
    for note in plan.notes:
        output.warn(note)
    return 0


def _status(path: Path) -> Mapping[str, Any] | None:
    from launcher.control_client import fetch_status

    try:
        return fetch_status(path)
    except NotRunning:
        return None


def _lines(plan: "StackPlan") -> Iterator[str]:
    width = max((len(action.service) for action in plan.actions), default=0)
    for action in plan.actions:
        yield f"{action.kind:<8} {action.service:<{width}}  {action.reason}"
        if action.kind != "stop":
            yield from (
                _child_line(child, width) for child in plan.children if child.service == action.service
            )
    if not plan.is_complete:
        yield "whether more has changed cannot be seen; lucid-launch up  finds and applies it"
    elif not plan.has_changes:
        yield "nothing to do: the running stack is as the file says"


def _child_line(child: "ChildPlan", width: int) -> str:
    where = child.url or (f"port {child.port}" if child.port is not None else "no port")
    device = f"{child.device} ({', '.join(child.gpus)})" if child.gpus else (child.device or "device unknown")
    fallback = "  (not the first choice of port)" if child.fallback_port else ""
    name = "" if child.child == child.service else f"{child.child}  "
    return f"{'':<8} {'':<{width}}  {name}{where}  on {device}{fallback}"
