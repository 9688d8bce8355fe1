"""What the file asks for, as the running supervisor needs it: asked of a planner process, kept as records.

Decides how a request to the planner and its answer look from this side. What is planned, and how, is
`launcher.planning`.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.children.parent import Parent
from launcher.children.programs import run_program
from launcher.errors import SupervisorFailed, from_document
from launcher.planning.prepared import PreparedChild, Seat, child_from_json
from launcher.records import from_json
from launcher.spawning import SpawnError, SpawnRequest
from launcher.wire import channel_pair, close_fds, receive, send

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["FilePlan", "PlanRequest", "ask_planner"]

Document = Mapping[str, Any]


@dataclass(frozen=True)
class PlanRequest:
    """What to plan for, and what runs.

    `names` are the services that are meant (none: all); `scaled` are replicas that win over the file's;
    `service` is one service as it runs, as JSON, which wins over the file. What runs: the `running` children
    by service, their listening sockets, their seats, and the leaders of their sessions.
    """

    path: Path
    names: Sequence[str]
    with_needs: bool
    strict_ports: bool
    scaled: Mapping[str, int]
    service: Any
    running: Mapping[str, Sequence[str]]
    held: Mapping[str, tuple[socket.socket, ...]]
    seats: Mapping[str, Seat]
    own_pids: Sequence[int]

    def to_json(self) -> dict[str, Any]:
        """The request as the planner reads it; the sockets travel beside it, in the order of `held`."""
        return {
            "path": str(self.path),
            "names": list(self.names),
            "with_needs": self.with_needs,
            "strict_ports": self.strict_ports,
            "scaled": dict(self.scaled),
            "service": self.service,
            "running": dict(self.running),
            "held": [(child, len(sockets)) for child, sockets in self.held.items()],
            "seats": {child: asdict(seat) for child, seat in self.seats.items()},
            "own_pids": list(self.own_pids),
        }


@dataclass(frozen=True)
class FilePlan:
    """The answer: every service of the file, which of them are meant, and the children of those."""

    project: str
    services: Mapping[str, Service]
    chosen: frozenset[str]
    children: Mapping[str, PreparedChild]
    notes: Sequence[str] = ()
    metrics_port: int | None = None
    metrics_where: str | None = None
    """Where in the file the metrics' port is asked for."""

    def close_fresh(self, held: Mapping[str, tuple[socket.socket, ...]]) -> None:
        """Close the sockets that were bound for this plan, which is given up."""
        kept = {id(one) for sockets in held.values() for one in sockets}
        for child in self.children.values():
            for one in child.sockets:
                if id(one) not in kept:
                    one.close()


async def ask_planner(parent: Parent, request: PlanRequest) -> FilePlan:
    """Return what a planner process answers; the caller owns the new sockets in it.

    Raises the LauncherError that the planner answers, or SupervisorFailed when it gives no answer.
    """
    ours, theirs = channel_pair()
    with ours:
        with theirs:
            held = [one.fileno() for sockets in request.held.values() for one in sockets]
            send(ours, request.to_json(), held)
            argv = (sys.executable, "-m", "launcher.planning.planner")
            program = SpawnRequest(argv, os.environ, Path.cwd(), (theirs.fileno(),))
            try:
                done = await run_program(parent, program)
            except SpawnError as error:
                raise SupervisorFailed(f"the file cannot be read: {error}") from error
        received = receive(ours)
    if received is None:
        last = done.stderr_tail[-1] if done.stderr_tail else done.status.text
        raise SupervisorFailed(f"the file could not be read: the planner failed: {last}")
    return _read_answer(*received, request.held)


def _read_answer(answer: Document, fds: list[int], held: Mapping[str, tuple[socket.socket, ...]]) -> FilePlan:
    if "error" in answer:
        close_fds(fds)
        raise from_document(answer["error"])
    bound = iter([socket.socket(fileno=fd) for fd in fds])
    services = {name: from_json(document) for name, document in answer["services"].items()}
    children = {}
    for document in answer["children"]:
        sockets = tuple(
            next(bound) if place is None else held[place[0]][place[1]] for place in document["sockets"]
        )
        children[document["name"]] = child_from_json(document, services[document["service"]], sockets)
    return FilePlan(
        answer["project"],
        services,
        frozenset(answer["chosen"]),
        children,
        answer["notes"],
        answer["metrics_port"],
        answer["metrics_where"],
    )
