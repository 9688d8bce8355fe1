"""One WebSocket to a server of the stack, with times; foreign failures become sentences.

Knows protocol.md sections 2 and 3; decides nothing about what a reply means.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from launcher.errors import ActionFailed, NoSuchService, TimedOut
from launcher.invocation import Invocation
from launcher.terminal.reasons import headline
from launcher.terminal.rows import own_address

OPEN_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 60.0
READYZ_TIMEOUT_S = 2.0
MAX_REPLY_BYTES = 64 * 1024 * 1024
NOT_RUNNING = ("stopped", "failed")
SEE_STATUS = "see  lucid-launch status"

Reply = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A reply and how long it took from the last byte sent to the whole reply read, in milliseconds."""

    reply: Reply
    took_ms: float


class ServerConnection:
    """An open connection; `connect_ms` is what the handshake took."""

    def __init__(self, connection: ClientConnection, url: str, connect_ms: float) -> None:
        self._connection = connection
        self._url = url
        self.connect_ms = connect_ms

    def ask(self, request: Mapping[str, Any], timeout_s: float = REPLY_TIMEOUT_S) -> Answer:
        """Send one request and wait for its reply."""
        return self.ask_raw(json.dumps(request), timeout_s)

    def ask_raw(self, frame: str, timeout_s: float = REPLY_TIMEOUT_S) -> Answer:
        """Send one text frame as it is; raises TimedOut when nothing comes back in time, ActionFailed for
        what is no JSON object.
        """
        began = time.perf_counter()
        try:
            self._connection.send(frame)
            received = self._connection.recv(timeout=timeout_s)
            reply = json.loads(received)
        except TimeoutError:
            raise TimedOut(f"{self._url} sent no reply within {timeout_s:g} s", hint=SEE_STATUS) from None
        except ConnectionClosed as closed:
            raise ActionFailed(f"{self._url} closed the connection: {closed}") from closed
        except ValueError as error:
            raise ActionFailed(f"{self._url} sent something that is not JSON: {error}") from error
        if not isinstance(reply, dict):
            raise ActionFailed(f"{self._url} sent JSON that is not an object")
        return Answer(reply, (time.perf_counter() - began) * 1000)


@dataclass(frozen=True)
class Door:
    """Where a server is asked, and the token that opens it; the token is never shown."""

    url: str
    token: str | None = field(default=None, repr=False)


def door_of(invocation: Invocation, document: Mapping[str, Any], wanted: str) -> Door:
    """The door of a service of the running stack, or of one child of it (`inference.1`), alone where that has
    an address of its own; its token comes from the config file, where it has one.

    Raises NoSuchService where there is neither, ActionFailed for one that does not run or has no address, and
    for a token that cannot be read.
    """
    service, url, asked = _find(document["services"], wanted)
    _check_runs(service, wanted, asked)
    if not url:
        raise ActionFailed(
            f"{service} has no address", hint="it is a command without a port; nothing can be sent to it"
        )
    if not document["services"][service].get("has_token"):
        return Door(url)
    from launcher.config import load_config
    from launcher.tokens import read_token

    config = load_config(invocation.config_path(), invocation.environ)
    try:
        return Door(url, read_token(config.services[service]))
    except KeyError:
        raise ActionFailed(f"{service} is no longer in the file that says where its token is") from None
    except (OSError, UnicodeError) as error:
        raise ActionFailed(f"the token of {service} cannot be read: {error}") from error


def _check_runs(service: str, wanted: str, asked: Sequence[Mapping[str, Any]]) -> None:
    """Raise ActionFailed when none of the children behind `wanted` runs."""
    if asked and all(child["state"] in NOT_RUNNING for child in asked):
        # Its socket may be held by the launcher: a connection would wait for a server that may never come.
        reasons = "; ".join(dict.fromkeys(headline(child) for child in asked))
        hint = f"start it with  lucid-launch start {service}"
        raise ActionFailed(f"{wanted} does not run: {reasons}", hint=hint)


def _find(services: Mapping[str, Any], wanted: str) -> tuple[str, str | None, Sequence[Mapping[str, Any]]]:
    """The service that is meant, the address of it or of the child that is, and the children behind that."""
    if wanted in services:
        return wanted, services[wanted].get("url"), services[wanted].get("children") or ()
    children = {child["name"]: (name, child) for name, each in services.items() for child in each["children"]}
    if wanted not in children:
        raise NoSuchService(wanted, list(dict.fromkeys([*services, *children])))
    service, child = children[wanted]
    own = own_address(child)
    return service, child.get("url") if own is None else f"ws://{own}", (child,)


@contextmanager
def open_server(
    door: Door, *, origin: str | None = None, timeout_s: float = OPEN_TIMEOUT_S
) -> Iterator[ServerConnection]:
    """An open connection through `door`, as a page of `origin` would make it, or as a plain program without.

    Raises TimedOut when there is none after `timeout_s` seconds, ActionFailed with the reason that the server
    itself gives, when there is one.
    """
    began = time.perf_counter()
    with _connect(door, origin, timeout_s) as connection:
        yield ServerConnection(connection, door.url, (time.perf_counter() - began) * 1000)


def _connect(door: Door, origin: str | None, timeout_s: float) -> ClientConnection:
    """The open WebSocket; what went wrong as `open_server` raises it."""
    try:
        # No proxy: the servers are on this machine, whatever the environment says about the world.
        return connect(
            door.url,
            additional_headers={} if door.token is None else {"Authorization": f"Bearer {door.token}"},
            origin=origin,  # type: ignore[arg-type] # a NewType over str
            proxy=None,
            compression=None,
            open_timeout=timeout_s,
            max_size=MAX_REPLY_BYTES,
        )
    except InvalidStatus as refused:
        body = (refused.response.body or b"").decode(errors="replace").strip()
        raise ActionFailed(f"refused with HTTP {refused.response.status_code}: {body[:200]}") from refused
    except TimeoutError:
        text = f"{door.url} did not answer the handshake within {timeout_s:g} s"
        raise TimedOut(text, hint=SEE_STATUS) from None
    except (OSError, WebSocketException) as error:
        raise ActionFailed(f"cannot connect to {door.url}: {error}{readiness_text(door.url)}") from error


def readiness_text(url: str) -> str:
    """What `/readyz` of the server behind `url` says, as the end of a sentence; empty when it says
    nothing.
    """
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "localhost", place.port, timeout=READYZ_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return f"; /readyz says {response.status} {response.read(200).decode(errors='replace')}"
    except (OSError, HTTPException):
        return ""
    finally:
        connection.close()
