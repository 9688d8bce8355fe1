"""`lucid-launch selftest`: the seed's test page without a browser, a tick and a time per check."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from launcher.commands.arguments import services_argument
from launcher.commands.selftest_checks import CHECKS, Outcome, run_checks
from launcher.commands.server_connection import door_of
from launcher.commands.status import check_services
from launcher.control_client import fetch_status
from launcher.errors import ActionFailed
from launcher.invocation import Invocation
from launcher.terminal.reasons import headline
from launcher.terminal.sanitize import clean


@click.command(short_help="Check a running stack end to end.")
@services_argument()
@click.option("--json", "as_json", is_flag=True, help="One document, schema lucid.selftest/1.")
@click.pass_obj
def command(invocation: Invocation, services: tuple[str, ...], as_json: bool) -> int:
    """Connect to every built-in server as clients do, try each command, and report a tick and a time per
    check.

    Stores one memory in a namespace of its own and deletes it. Exit code 1 when a check fails.
    """
    document = fetch_status(invocation.config_path())
    check_services(document, services)
    outcomes = []
    for outcome in _outcomes(invocation, document, services):
        outcomes.append(outcome)
        if not as_json:
            invocation.output.text(outcome_line(outcome, ascii_only=invocation.output.is_ascii(sys.stdout)))
    if not outcomes:
        raise ActionFailed(
            "there is no built-in server to test", hint="selftest knows memory and inference servers"
        )
    failed = sum(not outcome.ok for outcome in outcomes)
    if as_json:
        checks = [outcome.as_document() for outcome in outcomes]
        report = {"schema": "lucid.selftest/1", "ok": failed == 0, "checks": checks}
        invocation.output.data(json.dumps(report, indent=2))
    passed = len(outcomes) - failed
    invocation.output.note(f"{passed} of {len(outcomes)} checks passed")
    return 1 if failed else 0


def _outcomes(
    invocation: Invocation, document: Mapping[str, Any], services: tuple[str, ...]
) -> Iterator[Outcome]:
    """Every check of every chosen service; one that is stopped fails at once, with its state as the
    reason.
    """
    for name, service in document["services"].items():
        server = service.get("server")
        if (services and name not in services) or server not in CHECKS:
            continue
        if not services and service.get("desired") != "up":
            continue
        if service.get("state") != "ready":
            # Its socket is held by the launcher: a connection would wait for a server that may never come.
            reasons = [
                headline(child) for child in service.get("children") or [] if child["state"] != "ready"
            ]
            yield Outcome(name, "ready", False, 0.0, "; ".join(reasons) or str(service.get("state")))
            continue
        yield from run_checks(name, server, door_of(invocation, document, name))


def outcome_line(outcome: Outcome, *, ascii_only: bool) -> str:
    """`✓ memory     store and retrieve     12.3 ms  similarity 1.0`."""
    good, bad = ("[ok]", "[FAIL]") if ascii_only else ("✓", "✖")
    mark = click.style(good, fg="green") if outcome.ok else click.style(bad, fg="red", bold=True)
    took = f"{outcome.took_ms:8.1f} ms"
    return f"{mark} {clean(outcome.service):<10} {outcome.check:<20} {took}  {clean(outcome.detail)}"
