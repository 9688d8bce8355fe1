"""`lucid-launch status`: the table, and under it why a service is not ready.

One plain request over the control socket; `--watch` alone subscribes. Exit codes: launcher.md section 3.
"""

import json
import sys
from collections.abc import Collection, Mapping
from typing import Any

import click

from launcher.commands.arguments import services_argument
from launcher.control_client import fetch_status
from launcher.errors import NoSuchService
from launcher.invocation import Invocation
from launcher.terminal.output import Output
from launcher.terminal.reasons import QUOTED, has_reason, reason_lines
from launcher.terminal.rows import not_ready, own_address, rows_of
from launcher.terminal.sanitize import clean
from launcher.terminal.status_table import table_lines

EXIT_READY = 0
EXIT_NOT_READY = 1
EXIT_STOPPED = 3


@click.command(short_help="Show every service.")
@services_argument()
@click.option("--json", "as_json", is_flag=True, help="The whole document, schema lucid.status/1.")
@click.option("--watch", is_flag=True, help="Show every change until Ctrl-C.")
@click.pass_obj
def command(invocation: Invocation, services: tuple[str, ...], as_json: bool, watch: bool) -> int:
    """Show every service: state, address, load, and why one is not ready.

    Exit code 0 when every wanted service is ready, 1 when one is not, 3 when nothing runs.
    """
    if watch:
        from launcher.commands.status_watch import watch_status

        return watch_status(invocation, services, as_json)
    document = fetch_status(invocation.config_path())
    check_services(document, services)
    show(invocation, document, services, as_json)
    return exit_code(document, services)


def check_services(document: Mapping[str, Any], services: Collection[str]) -> None:
    """Raise NoSuchService for the first name that the running stack does not have."""
    known = list(document.get("services", {}))
    for name in services:
        if name not in known:
            raise NoSuchService(name, known)


def show(
    invocation: Invocation, document: Mapping[str, Any], services: Collection[str], as_json: bool
) -> None:
    """Print the document once, as JSON or as a table with reasons."""
    if as_json:
        invocation.output.data(json.dumps(_only(document, services), ensure_ascii=False, indent=2))
        return
    output = invocation.output
    width = output.width(sys.stdout)
    rows = rows_of(document, services, ascii_only=output.is_ascii(sys.stdout))
    lines = [*table_lines(rows, width), *_gpu_lines(output, document, services)]
    told = [*shared_ports(document, services), *remarks(document, services)]
    for child in filter(has_reason, not_ready(document, services)):
        told += ["", *reason_lines(child)]
    for line in [*lines, *(_fitted(line, width) for line in told)]:
        output.text(line)


def _fitted(line: str, width: int | None) -> str:
    """A sentence broken between words where it is too long; what a child said stays as it is."""
    if width is None or len(line) <= width or line.startswith(QUOTED):
        return line
    from launcher.terminal.wrapping import hanging

    return hanging("", line, 4 if line.startswith(" ") else 2, width)


def _gpu_lines(output: Output, document: Mapping[str, Any], services: Collection[str]) -> list[str]:
    """A line for each GPU; they belong to the stack, not to a service that was named."""
    if services or not document.get("gpus"):
        return []
    from launcher.terminal.gpu_cells import gpu_rows

    width = output.width(sys.stdout)
    return ["", *(row[:width] for row in gpu_rows(document, ascii_only=output.is_ascii(sys.stdout)))]


def shared_ports(document: Mapping[str, Any], services: Collection[str]) -> list[str]:
    """A line for each service whose children share a port: where each of them can be asked alone."""
    lines = []
    for name, service in document.get("services", {}).items():
        own = [(child, own_address(child)) for child in service.get("children") or []]
        each = ", ".join(clean(f"{child['name']} at {address}") for child, address in own if address)
        if each and (not services or name in services):
            lines.append(f"  {clean(name)}: port {service.get('port')} is shared; alone, {each}")
    return ["", *lines] if lines else []


def remarks(document: Mapping[str, Any], services: Collection[str]) -> list[str]:
    """What the table cannot hold: a port that is not the first choice, a GPU service on the CPU."""
    lines = [f"! {clean(str(note))}" for note in document.get("notes") or []]
    for name, service in document.get("services", {}).items():
        if services and name not in services:
            continue
        if service.get("fallback_port"):
            lines.append(f"! {name} listens on {service.get('port')}, not on the first port of its range")
        lines += [f"! {clean(str(note))}" for note in service.get("notes") or []]
    lines = list(dict.fromkeys(lines))
    return ["", *lines] if lines else []


def exit_code(document: Mapping[str, Any], services: Collection[str]) -> int:
    """0 when every wanted service is ready, 1 when one is not, 3 when a service asked for is stopped on
    purpose.
    """
    chosen = [
        service for name, service in document.get("services", {}).items() if not services or name in services
    ]
    if any(service.get("state") == "failed" for service in chosen):
        return EXIT_NOT_READY
    if any(service.get("desired") == "up" and service.get("state") != "ready" for service in chosen):
        return EXIT_NOT_READY
    if services and any(service.get("desired") != "up" for service in chosen):
        return EXIT_STOPPED
    return EXIT_READY


def _only(document: Mapping[str, Any], services: Collection[str]) -> Mapping[str, Any]:
    """The document with the named services alone; as it came when none is named."""
    if not services:
        return document
    chosen = {name: document["services"][name] for name in document["services"] if name in services}
    return {**document, "services": chosen}
