"""`lucid-launch call`: a request over the real WebSocket, the reply as JSON, and where the time went.

With `--count` the same request many times on one connection, and how the times are spread.
"""

import json
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from launcher.commands.arguments import DURATION, complete_services
from launcher.commands.call_statistics import SCHEMA, Measured, statistics_lines, statistics_report
from launcher.commands.call_times import ASK, parts_of, split_text
from launcher.commands.server_connection import (
    OPEN_TIMEOUT_S,
    REPLY_TIMEOUT_S,
    Door,
    ServerConnection,
    door_of,
    open_server,
)
from launcher.control_client import fetch_status
from launcher.invocation import Invocation
from launcher.terminal.sanitize import clean

# A vector is data for programs; on a terminal its first numbers tell enough.
SHOWN_NUMBERS = 6
# A list of nothing but numbers as json.dumps indents it; the line breaks cannot be inside of a string.
_NUMBERS = re.compile(r"\[\n\s+((?:[-+.\deE]+,\n\s+)*(?:[-+.\deE]+|\"\.\.\. \d+ numbers\"))\n\s*\]")


@click.command(short_help="Send one request to a server and show the reply.")
@click.argument("service", metavar="SVC", shell_complete=complete_services)
@click.argument("kind", metavar="TYPE")
@click.argument("words", metavar="[KEY=VALUE ...|JSON|-]", nargs=-1)
@click.option("--raw", is_flag=True, help="The whole reply on one line, vectors in full.")
@click.option(
    "--timeout",
    type=DURATION,
    metavar="T",
    default=REPLY_TIMEOUT_S,
    help="Wait at most this long; exit code 124 after it.",
)
@click.option(
    "--count", type=click.IntRange(1), metavar="N", help="Send it N times, and show how the times are spread."
)
@click.option("--json", "as_json", is_flag=True, help=f"With --count: one document, schema {SCHEMA}.")
@click.pass_obj
def command(
    invocation: Invocation, service: str, kind: str, words: tuple[str, ...], raw: bool, timeout: float,
    count: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Send one request over the WebSocket and show the reply, the time it took, and what that was spent on.

    SVC is a service, or one of its replicas (inference.1). Values are JSON where they can be (count=5,
    tags=["a"]), text otherwise. A single JSON object, or `-` for one on stdin, is taken as the whole data.
    Exit code 1 when the server answers with an error.
    """
    document = fetch_status(invocation.config_path())
    door = door_of(invocation, document, service)
    request = {"type": kind, "data": request_data(words), **ASK}
    if count is not None:
        return _many(invocation, door, Measured(service, kind, 0.0), request, count, timeout, as_json)
    with open_server(door, timeout_s=min(timeout, OPEN_TIMEOUT_S)) as connection:
        answer = connection.ask(request, timeout)
        invocation.output.data(
            reply_text(answer.reply, full=raw, terminal=sys.stdout.isatty() and not as_json)
        )
        parts = parts_of(answer.reply, answer.took_ms)
        invocation.output.note(clean(split_text(connection.connect_ms, answer.took_ms, parts)))
    return 0 if answer.reply.get("status") == "success" else 1


def _many(
    invocation: Invocation, door: Door, measured: Measured, request: Mapping[str, Any], count: int,
    timeout_s: float, as_json: bool,
) -> int:  # fmt: skip
    """Ask `count` times and show the statistics; exit code 1 when any call was refused."""
    with open_server(door, timeout_s=min(timeout_s, OPEN_TIMEOUT_S)) as connection:
        measured.connect_ms = connection.connect_ms
        began = time.perf_counter()
        for _ in range(count):
            answer = connection.ask(request, timeout_s)
            measured.add(answer.reply, answer.took_ms)
        measured.elapsed_s = time.perf_counter() - began
        measured.stages = _stages(connection)
    if as_json:
        invocation.output.data(json.dumps(statistics_report(measured), indent=2))
    else:
        invocation.output.text("\n".join(map(clean, statistics_lines(measured))))
    return 1 if measured.refusals else 0


def _stages(connection: ServerConnection) -> Mapping[str, Any]:
    """Where the server itself says that its time went; empty for one that tells nothing."""
    stats = connection.ask({"type": "stats"}).reply.get("stats")
    told = stats.get("latency_ms") if isinstance(stats, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def request_data(words: tuple[str, ...]) -> dict[str, Any]:
    """The `data` object from the words of the command line; raises a usage error that says what is wrong."""
    if words == ("-",):
        return _object(sys.stdin.read(), "stdin")
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return _object(words[0], "the argument")
    data: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"'{word}' is not KEY=VALUE")
        data[key] = _value(value)
    return data


def _object(text: str, place: str) -> dict[str, Any]:
    """A JSON object, or a usage error."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{place} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f"{place} is JSON, but not an object")
    return value


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def reply_text(reply: Mapping[str, Any], *, full: bool, terminal: bool) -> str:
    """The reply as JSON; on a terminal long vectors are cut (and non-ASCII escaped, so that it is
    harmless).
    """
    if full:
        return json.dumps(reply)
    text = json.dumps(_shortened(reply) if terminal else reply, indent=2)
    return _NUMBERS.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text)


def _shortened(value: Any) -> Any:
    """The value with every long list of numbers cut to its beginning and a count."""
    if isinstance(value, Mapping):
        return {key: _shortened(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > SHOWN_NUMBERS and all(isinstance(each, int | float) for each in value):
        return [*value[:SHOWN_NUMBERS], f"... {len(value)} numbers"]
    return [_shortened(each) for each in value]
