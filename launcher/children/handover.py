"""What the guardian hands to a supervisor that starts: programs that run, descriptors, and why it starts."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.processes import ExitStatus
from launcher.wire import receive

__all__ = ["HandedProcess", "Handover", "receive_handover"]


@dataclass(frozen=True)
class HandedProcess:
    """A program that was started for a supervisor before; `fds` are pidfd, stdout, stderr and status."""

    pid: int
    about: Mapping[str, Any]
    ended: ExitStatus | None
    fds: Sequence[int]


@dataclass
class Handover:
    """What the guardian kept: the reason of this start (`start`, `died`, `reload`, `guardian_lost`),
    descriptors by name, and programs.
    """

    reason: str = "start"
    kept: dict[str, list[int]] = field(default_factory=dict)
    processes: list[HandedProcess] = field(default_factory=list)


def receive_handover(channel: socket.socket) -> Handover:
    """Read what the guardian says first; it is there already. Raises ConnectionError when it is gone."""
    handover = Handover()
    while True:
        received = receive(channel)
        if received is None:
            raise ConnectionError("the guardian is gone")
        message, fds = received
        match message["event"]:
            case "handover":
                handover.reason = message["reason"]
            case "kept":
                handover.kept[message["name"]] = fds
            case "process":
                ended = message["ended"] and ExitStatus(**message["ended"])
                handover.processes.append(HandedProcess(message["pid"], message["about"], ended, fds))
            case "handed":
                return handover
