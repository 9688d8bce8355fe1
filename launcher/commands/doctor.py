"""`lucid-launch doctor`: is this machine fit to run this stack; each finding ok, warn or FAIL with the mend.

Looks only: nothing is started but the servers' own check of their options, nothing is written.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.errors import ConfigMissing, LauncherError
from launcher.invocation import CONFIG_NAME, Invocation
from launcher.terminal.wrapping import hanging

if TYPE_CHECKING:
    from launcher.planning.machine_checks import Check
    from launcher.planning.seating import Seat

__all__ = ["command"]

_COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(short_help="Check this machine: driver, GPUs, ports, model, limits.")
@click.option("--json", "as_json", is_flag=True, help="One document, schema lucid.doctor/1.")
@click.pass_obj
def command(invocation: Invocation, as_json: bool) -> int:
    """Check everything that a start needs: driver, GPUs, ports, model, Python, limits.

    Each line is ok, warn or FAIL with what to do about it. Exit code 1 when anything is FAIL, else 0.
    """
    checks = _examine(_config_path(invocation), invocation.environ)
    has_failed = any(check.status == "FAIL" for check in checks)
    if as_json:
        document = {
            "schema": "lucid.doctor/1",
            "ok": not has_failed,
            "checks": [vars(check) for check in checks],
        }
        invocation.output.data(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        for line in _lines(checks, invocation.output.width(sys.stdout)):
            invocation.output.text(line)
    return 1 if has_failed else 0


def _config_path(invocation: Invocation) -> Path:
    """The file this is about; the place where one would be when there is none yet."""
    try:
        return invocation.config_path()
    except ConfigMissing:
        if invocation.file is not None:
            raise
        return invocation.directory.absolute() / CONFIG_NAME


def _examine(config_path: Path, environ: Mapping[str, str]) -> "list[Check]":
    from launcher.gpus import NvmlReader
    from launcher.planning.machine_checks import check_machine
    from launcher.planning.stack_checks import check_stack

    reader = NvmlReader()
    machine = check_machine(config_path, reader.read())
    return [*machine, *check_stack(config_path, environ, reader, *_running(config_path))]


def _running(config_path: Path) -> "tuple[set[int], dict[str, Seat]]":
    """The processes and the GPUs of the stack that runs for this file: what they hold is in good hands."""
    from launcher.control_client import fetch_status
    from launcher.planning.stack_plan import own_pids, seats_in

    try:
        status = fetch_status(config_path)
    except LauncherError:
        # Nothing runs, or what runs does not answer: then its ports are conflicts worth showing.
        return set(), {}
    return set(own_pids(status)), seats_in(status)


def _lines(checks: "Sequence[Check]", columns: int | None) -> Iterator[str]:
    width = max(len(check.name) for check in checks)
    indent = 4 + 2 + width + 2
    for check in checks:
        word = click.style(f"{check.status:<4}", fg=_COLORS[check.status], bold=check.status != "ok")
        yield hanging(f"{word}  {check.name:<{width}}  ", check.detail, indent, columns)
        if check.mend is not None:
            yield hanging(f"{'':<{indent}}mend: ", check.mend, indent + len("mend: "), columns)
    count = {status: sum(check.status == status for check in checks) for status in _COLORS}
    yield f"{count['ok']} ok, {count['warn']} to look at, {count['FAIL']} failed"
