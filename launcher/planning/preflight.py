"""Everything that is checked and reserved before the first spawn.

Decides the order: the file's own mistakes (exit 2), then what this machine lacks (exit 6), then ports (exit
5), which are really bound and held. Each stage reports all it finds at once. Knows nothing of running
children but the sockets and processes it is told are ours.
"""

import os
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from launcher.config import Config
from launcher.configuration.models import NamedGpus, Service, child_names
from launcher.errors import ConfigInvalid, PortInUse
from launcher.gpus import GpuReader, NvmlReader
from launcher.placement import CPU, Assignment, PlacementPlan
from launcher.planning.option_checks import check_options
from launcher.planning.port_claims import ChildPort, PortClaims, claim_ports
from launcher.planning.prepared import PreparedChild
from launcher.planning.program_checks import find_missing_program, find_path_problems
from launcher.planning.seating import Seat, place_services, raise_all
from launcher.sockets import close_all

__all__ = ["Assignment", "Prepared", "PreparedChild", "check_environment", "place_services", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What `prepare` reserved; `notes` are sentences that the user must see."""

    config: Config
    children: Mapping[str, PreparedChild]
    notes: list[str] = field(default_factory=list)

    def close(self, held: Mapping[str, tuple[socket.socket, ...]] | None = None) -> None:
        """Close every socket but those that were `held` before, for a start that is given up."""
        kept = {id(one) for sockets in (held or {}).values() for one in sockets}
        for child in self.children.values():
            close_all(one for one in child.sockets if id(one) not in kept)


def prepare(
    config: Config,
    *,
    held: Mapping[str, tuple[socket.socket, ...]] | None = None,
    strict_ports: bool = False,
    environ: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    own_pids: Collection[int] = (),
    seats: Mapping[str, Seat] | None = None,
    gpu_reader: GpuReader | None = None,
) -> Prepared:
    """Check and reserve everything that the services need; blocks for seconds at most.

    `only` limits it to these services (default: all that are enabled). `held` are the listening sockets
    that the supervisor has already, by child; they are used again where the file still allows and otherwise
    left alone: the caller closes what it did not get back. `own_pids` are children (session leaders) that
    run now: their ports count as free. `seats` says which GPUs and ports they have, by child: they keep
    them where that is possible, and what they hold counts as free for those that are placed anew. Raises
    ConfigInvalid, EnvironmentUnmet (or the one error in it), PortInUse or ActionFailed; what was bound is
    closed then.
    """
    environ = os.environ if environ is None else environ
    services = [
        service
        for name, service in config.services.items()
        if service.enabled and (only is None or name in only)
    ]
    check_environment(config, services, environ)
    placed = place_services(config, services, gpu_reader or NvmlReader(), environ, seats or {})
    ports = {child: seat.port for child, seat in (seats or {}).items() if seat.port is not None}
    claims = claim_ports(config, services, held or {}, strict=strict_ports, own_pids=own_pids, ports=ports)
    if claims.conflicts:
        claims.close()
        raise PortInUse(claims.conflicts)
    children = _children(services, claims, placed)
    return Prepared(config, children, _notes(services, children, claims.ports, environ))


def check_environment(config: Config, services: Iterable[Service], environ: Mapping[str, str]) -> None:
    """Check options, folders, files, users, programs and models; starts only the servers' own option checks.

    Raises ConfigInvalid for mistakes of the file, else EnvironmentUnmet or the one error that it would
    hold.
    """
    services = tuple(services)
    findings = check_options(config, services, environ)
    problems = [problem for service in services for problem in find_path_problems(config, service)]
    if problems or findings.problems:
        raise ConfigInvalid([*problems, *findings.problems])
    missing = [find_missing_program(config, service, environ) for service in services]
    raise_all([*findings.missing_models, *(error for error in missing if error is not None)])


def _children(
    services: Iterable[Service], claims: PortClaims, placed: PlacementPlan
) -> dict[str, PreparedChild]:
    children: dict[str, PreparedChild] = {}
    for service in services:
        for replica, name in enumerate(child_names(service)):
            port = claims.ports.get(name, ChildPort(None))
            children[name] = PreparedChild(
                name,
                service,
                replica,
                port.number,
                port.sockets,
                port.is_fallback,
                _url(service, port.number),
                placed.assignments.get(name, CPU),
                port.private,
            )
    return children


def _url(service: Service, port: int | None) -> str | None:
    if port is None:
        return None
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(service.host, service.host)
    scheme = "ws" if service.health.kind == "websocket" else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _notes(
    services: Iterable[Service],
    children: Mapping[str, PreparedChild],
    ports: Mapping[str, ChildPort],
    environ: Mapping[str, str],
) -> list[str]:
    # What replicas share is said once.
    called = {name: c.service.name if c.service.shares_port else name for name, c in children.items()}
    notes = [child.gpu.note for child in children.values() if child.gpu.note is not None]
    notes += [
        f"{called[name]} listens on port {port.number}, since {port.why_fallback()}; clients that know only "
        "the first port will not find it (--strict-ports refuses this)"
        for name, port in ports.items()
        if port.is_fallback
    ]
    notes += [
        f"{called[name]} listens at {children[name].service.host} now, "
        f"and no more at {' and '.join(port.given_up)}"
        for name, port in ports.items()
        if port.given_up
    ]
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and any(isinstance(service.gpu, NamedGpus) for service in services):
        notes.append(f"CUDA_VISIBLE_DEVICES={visible} is set; the GPUs that the file names win over it")
    return list(dict.fromkeys(notes))
