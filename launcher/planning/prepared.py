"""One child, ready to be spawned, and the seat that a running one has: what planning and running exchange."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.records import from_json, to_json

if TYPE_CHECKING:
    from launcher.configuration.models import Service
    from launcher.placement import Assignment

__all__ = ["PRIVATE_HOST", "PreparedChild", "Seat", "child_from_json", "child_to_json", "visible_gpus"]

PRIVATE_HOST = "127.0.0.1"
"""Where each of several children on a shared port is asked alone."""


@dataclass(frozen=True)
class PreparedChild:
    """One child, ready to be spawned.

    `sockets` are listening and ours to close; empty for a service that binds by itself. `fallback_port`: a
    range could not give the port that known clients try. `url` is None for a service without a port.
    `private_port` is where this child alone is asked when it shares `port` with its siblings; its socket is
    then the last of `sockets`.
    """

    name: str
    service: Service
    replica: int
    port: int | None
    sockets: tuple[socket.socket, ...]
    fallback_port: bool
    url: str | None
    gpu: Assignment
    private_port: int | None = None

    @property
    def client_sockets(self) -> tuple[socket.socket, ...]:
        """Those that clients connect to: all but the private one."""
        return self.sockets if self.private_port is None else self.sockets[:-1]


@dataclass(frozen=True)
class Seat:
    """What a running child has: its GPUs, its session leader, and the port that it listens on by itself."""

    ids: tuple[str, ...]
    pid: int | None
    port: int | None = None


def visible_gpus(environ: Mapping[str, str]) -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to us, or None when it is not set."""
    value = environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def child_to_json(child: PreparedChild) -> dict[str, Any]:
    """Return a child without its sockets; `child_from_json` is the inverse."""
    return {
        "name": child.name,
        "service": child.service.name,
        "replica": child.replica,
        "port": child.port,
        "fallback_port": child.fallback_port,
        "url": child.url,
        "gpu": to_json(child.gpu),
        "private_port": child.private_port,
    }


def child_from_json(
    document: Mapping[str, Any], service: Service, sockets: tuple[socket.socket, ...]
) -> PreparedChild:
    """Return the child that `document` describes."""
    return PreparedChild(
        document["name"],
        service,
        document["replica"],
        document["port"],
        sockets,
        document["fallback_port"],
        document["url"],
        from_json(document["gpu"]),
        document["private_port"],
    )
