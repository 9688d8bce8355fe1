"""Click pieces that several verbs share: durations, and service names that complete themselves."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from launcher.control_client import fetch_status
from launcher.errors import LauncherError
from launcher.invocation import Invocation
from launcher.terminal.output import Output

COMPLETION_TIMEOUT_S = 0.05

# Names as plain text: click makes items of them, and only a shell that completes pays for that import.
Complete = Callable[[click.Context, click.Parameter, str], list[str]]
Callback = TypeVar("Callback", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """`500ms`, `10s`, `5m`, `1h30m` or plain seconds; a number of seconds for the verb."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds from what was typed."""
        from launcher.configuration.units import parse_duration

        try:
            is_number = isinstance(value, str) and value.replace(".", "", 1).isdigit()
            return parse_duration(float(value) if is_number else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()


def read_when(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """A moment from `10m` (ago), `1h30m` or ISO 8601, as the stamp that logs and events carry; else ""."""
    from datetime import UTC, datetime

    from launcher.logs.records import parse_when

    try:
        return "" if value is None else parse_when(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def complete_services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The services that begin like `incomplete`: of the running stack, else of the file; none of a broken
    one.
    """
    try:
        path = _invocation(ctx).config_path()
        names = _services(path)
    except LauncherError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _services(path: Path) -> list[str]:
    """Asking the stack is much quicker than reading the file, which takes the models of its keys."""
    try:
        return list(fetch_status(path, COMPLETION_TIMEOUT_S)["services"])
    except LauncherError:
        from launcher.config import load_config

        return list(load_config(path, os.environ).services)


def complete_logged(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The services and children that have left a log, and the supervisor's own; needs nothing to run."""
    from launcher.logs.reader import services_in
    from launcher.logs.records import SUPERVISOR

    try:
        folder = _invocation(ctx).config_path().parent / "logs"
    except LauncherError:
        return []
    names = [*services_in(folder), SUPERVISOR]
    return [name for name in names if name.startswith(incomplete)]


def _invocation(ctx: click.Context) -> Invocation:
    """What is on the line so far; completing runs no callback, so that there is no Invocation yet."""
    given = ctx.find_root().params
    output = Output(color="never", quiet=True, verbose=0, environ=os.environ)
    folder = given.get("directory") or Path.cwd()
    return Invocation(file=given.get("file"), directory=folder, output=output, environ=os.environ)


def services_argument(
    *, required: bool = False, complete: Complete = complete_services
) -> Callable[[Callback], Callback]:
    """The `SVC…` argument of a verb."""
    return click.argument(
        "services",
        nargs=-1,
        required=required,
        metavar="SVC..." if required else "[SVC]...",
        shell_complete=complete,
    )


def json_option(schema: str) -> Callable[[Callback], Callback]:
    """The `--json` option of a verb that prints one document."""
    return click.option("--json", "as_json", is_flag=True, help=f"One document, schema {schema}.")


def timeout_option(text: str) -> Callable[[Callback], Callback]:
    """The `--timeout` option of a verb; None when it is not given."""
    return click.option("--timeout", type=DURATION, metavar="T", help=text)
