"""`lucid-launch logs`: the output of all services, merged by time, from the files; works when nothing
runs.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from launcher.commands.arguments import complete_logged, read_when, services_argument
from launcher.control_client import fetch_status
from launcher.errors import NoSuchService, NotRunning
from launcher.invocation import Invocation
from launcher.logs.levels import LEVELS
from launcher.logs.reader import (
    read_all,
    read_last,
    read_previous_generation,
    services_in,
)
from launcher.logs.records import SUPERVISOR, LogFilter, LogLine, smart_case
from launcher.terminal.log_text import LineFormat


@dataclass(frozen=True)
class Request:
    """What one call of `logs` asks for."""

    folder: Path
    names: tuple[str, ...]
    wanted: LogFilter
    count: int | None
    prev: bool


def _pattern(ctx: click.Context, param: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    """The regular expression of `-g`."""
    try:
        return None if value is None else smart_case(value)
    except re.error as error:
        raise click.BadParameter(f"not a regular expression: {error}", ctx, param) from None


@click.command(short_help="Show the output of all services.")
@services_argument(complete=complete_logged)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, across restarts, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last N lines. With -f: 100.")
@click.option("--since", callback=read_when, metavar="T", help="From this time on: 10m, 1h30m, or ISO 8601.")
@click.option("--until", callback=read_when, metavar="T", help="Up to this time.")
@click.option(
    "-g",
    "--grep",
    "pattern",
    callback=_pattern,
    metavar="REGEX",
    help="Only lines that match; minds case if you do.",
)
@click.option("--invert", is_flag=True, help="With -g: only lines that do not match.")
@click.option(
    "-p",
    "--level",
    type=click.Choice(list(LEVELS)),
    help="Only lines of at least this level, as their own words say it.",
)
@click.option("--prev", is_flag=True, help="The generation before the current one.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "json", "raw"]),
    default="text",
    help="text, one JSON object a line (schema lucid.log/1), or raw: what the child wrote, nothing else.",
)
@click.option("--json", "form", flag_value="json", help="The same as -o json.")
@click.pass_obj
def command(
    invocation: Invocation, services: tuple[str, ...], follow: bool, lines: int | None, since: str,
    until: str,
    pattern: re.Pattern[str] | None, invert: bool, level: str | None, prev: bool, form: str,
) -> int:  # fmt: skip
    """Show the output of all services, merged by time.

    Reads the log files, so it works when nothing runs. `supervisor` names the launcher's own log.
    """
    if invert and pattern is None:
        raise click.UsageError("--invert turns the pattern of -g around; there is none")
    if follow and (prev or until):
        raise click.UsageError("-f goes on with what comes; it cannot be used with --prev or --until")
    config_path = invocation.config_path()
    folder = config_path.parent / "logs"
    check_names(config_path, folder, services)
    wanted = LogFilter(pattern, since, until, LEVELS[level] if level else 0, invert, form == "raw")
    request = Request(folder, services, wanted, lines, prev)
    output, is_terminal = invocation.output, sys.stdout.isatty()
    is_ascii = is_terminal and output.is_ascii(sys.stdout)  # a pipe gets what the child wrote
    color = output.wants_color(sys.stdout)
    style = LineFormat(form, color=color, is_terminal=is_terminal, ascii_only=is_ascii)
    if follow:
        from launcher.commands.logs_follow import follow_logs

        follow_logs(invocation, config_path, request, style)
    else:
        write(_past(request), style)
    return 0


def check_names(config_path: Path, folder: Path, names: Iterable[str]) -> None:
    """Raise NoSuchService for a name that neither left a log nor runs; NotRunning when there is nothing at
    all.
    """
    known = services_in(folder)
    unknown = [name for name in names if name not in known and name != SUPERVISOR]
    if known and not unknown:
        return
    try:
        running = list(fetch_status(config_path)["services"])
    except NotRunning:
        if not known:
            raise
        running = []
    for name in unknown:
        if name not in running:
            raise NoSuchService(name, sorted({*known, *running}))


def write(lines: Iterable[LogLine], style: LineFormat) -> None:
    """Write lines to stdout and hand them on at once."""
    for line in lines:
        text = style.render(line)
        if text is not None:
            sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _past(request: Request) -> Iterable[LogLine]:
    """The lines that are already there."""
    if request.prev:
        lines = read_previous_generation(request.folder, request.names, request.wanted)
        return lines if request.count is None else list(lines)[len_from_end(request.count) :]
    if request.count is None:
        return read_all(request.folder, request.names, request.wanted)
    return read_last(request.folder, request.names, request.wanted, request.count)


def len_from_end(count: int) -> int | None:
    """The slice start that keeps the last `count` items."""
    return -count if count else sys.maxsize
