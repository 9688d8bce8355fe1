"""From settings to a program that can be started: environment, command line, sockets, limits, and its seat.

Decides nothing that `environment` does not, but that inherited sockets are blocking (as systemd hands them
down); it gathers what they need from one child.
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

__all__ = ["build_request"]


def build_request(
    service: Service, prepared: PreparedChild, generation: int, notify_address: Path, around: Surroundings
) -> SpawnRequest:
    """Return what starts one generation of a child; raises OSError or ValueError for a bad `env_file`."""
    sockets = prepared.sockets if service.inherit_sockets else ()
    for held in sockets:
        # As every program expects it of a socket; the generation before, or we, may have changed it.
        held.setblocking(True)
    facts = ChildFacts(
        child=prepared.name,
        generation=generation,
        port=prepared.port,
        socket_names=tuple(service.name for _ in sockets),
        notify_address=str(notify_address),
        cuda_visible_devices=prepared.gpu.cuda_visible_devices,
        device=prepared.gpu.device,
        peers=around.peers(),
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
