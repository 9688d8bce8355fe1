"""From settings to a program that can be started: environment, command line, sockets, limits, and its seat.

Decides nothing that `environment` does not, but that inherited sockets are blocking (as systemd hands them
down) unless siblings accept on them too, and what they are called; it gathers what they need from one child.
The mode belongs to a socket's open file, which child and launcher share: changed for one, it is for both.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.children.environment import ChildFacts, build_argv, build_environment, choose_cpus
from launcher.children.surroundings import Surroundings
from launcher.planning.prepared import PreparedChild
from launcher.spawning import SpawnRequest, StopRule

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["build_request", "set_socket_mode"]


def build_request(
    service: Service, prepared: PreparedChild, generation: int, notify_address: Path, around: Surroundings
) -> SpawnRequest:
    """Return what starts one generation of a child, changing nothing that a living one may rely on.

    Raises OSError or ValueError for a bad `env_file`.
    """
    sockets = prepared.sockets if service.inherit_sockets else ()
    facts = ChildFacts(
        child=prepared.name,
        generation=generation,
        port=prepared.port,
        socket_names=_socket_names(prepared) if sockets else (),
        notify_address=str(notify_address),
        cuda_visible_devices=prepared.gpu.cuda_visible_devices,
        device=prepared.gpu.device,
        peers=around.peers(),
        private_port=prepared.private_port if sockets else None,
    )
    environ = build_environment(service, facts, os.environ)
    return SpawnRequest(
        build_argv(service, environ),
        environ,
        service.cwd,
        tuple(held.fileno() for held in sockets),
        service.user,
        choose_cpus(service, prepared.gpu, os.sched_getaffinity(0)),
        service.limits.open_files,
        StopRule(
            signal.Signals[f"SIG{service.stop.signal}"], service.stop.grace_s, around.rank(service.name)
        ),
    )


def set_socket_mode(service: Service, prepared: PreparedChild) -> None:
    """Put the sockets into the mode in which the next generation expects them; the last one must be gone."""
    for held in prepared.sockets if service.inherit_sockets else ():
        # As every program expects it of a socket; the generation before, or we, may have changed it. But the
        # flag is one for all copies: a sibling that was first to accept would leave the others blocked.
        held.setblocking(prepared.private_port is None)


def _socket_names(prepared: PreparedChild) -> tuple[str, ...]:
    """The service's name for each socket of its clients; no service has a dot in its name."""
    name = prepared.service.name
    private = () if prepared.private_port is None else (f"{name}.private",)
    return (*(name for _ in prepared.client_sockets), *private)
