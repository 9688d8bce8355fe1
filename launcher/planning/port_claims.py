"""Carry out the port plan with real sockets, and turn what failed into conflicts a person can act on.

Decides which sockets are handed down (built-in servers and `inherit_sockets`) and which are only tried and
let go, and what the mend of a conflict is. Replicas that share a port make one claim together; how each gets
its copy of that socket is `shared_port`'s. Knows nothing of GPUs or of programs.
"""

import os
import shlex
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from launcher.config import Config
from launcher.configuration.models import FixedPort, PortRange, Service, child_names
from launcher.errors import Holder, PortConflict
from launcher.planning.shared_port import bind_private, copies_for, of_clients, pick_held
from launcher.ports import PortAssignment, PortRequest, PortShortage, Taken, plan_ports
from launcher.sockets import PortUnavailable, bind_service, close_all, find_holder, relisten

__all__ = ["ChildPort", "PortClaims", "claim_ports"]

_EARLIER_SERVERS = ("tensor_server", "memory_server", "servers.memory", "servers.inference", "lucid")
Sockets = tuple[socket.socket, ...]


@dataclass(frozen=True)
class ChildPort:
    """The port of one child and the listening sockets that it inherits."""

    number: int | None
    sockets: Sockets = ()
    is_fallback: bool = False
    passed_over: tuple[Taken, ...] = ()
    is_ours_already: bool = False
    given_up: tuple[str, ...] = ()
    """Addresses at which it listened so far and is not to listen any more."""
    private: int | None = None
    """The port of the last of `sockets`, where this one of several on a shared port is asked alone."""

    def why_fallback(self) -> str:
        """Who has the ports that would have been better."""
        if not self.passed_over:
            return "the first ports of the range are taken"
        first = self.passed_over[0]
        return (
            f"port {first.port} is held by {first.holder or first.reason or 'a process that has just ended'}"
        )


@dataclass
class PortClaims:
    """The outcome: a port for each child that has one, and every conflict."""

    ports: dict[str, ChildPort] = field(default_factory=dict)
    conflicts: tuple[PortConflict, ...] = ()
    bound: dict[int, Sockets] = field(default_factory=dict)
    ours: set[int] = field(default_factory=set)
    dealt: list[socket.socket] = field(default_factory=list)
    """What was made here for the replicas on a shared port."""

    def close(self) -> None:
        """Give up everything that was bound here; sockets that were held before are not touched."""
        for sockets in self.bound.values():
            close_all(sockets)
        close_all(self.dealt)


def claim_ports(
    config: Config,
    services: Iterable[Service],
    held: Mapping[str, Sockets],
    *,
    strict: bool,
    own_pids: Collection[int],
    ports: Mapping[str, int] | None = None,
) -> PortClaims:
    """Bind a port for every child that wants one; all conflicts are found, with their holders.

    `ports` are those that running children listen on by themselves; they keep them.
    """
    asking = {name: service for service in services for name in _claimants(service)}
    found = ((name, _request(name, service, held, ports or {})) for name, service in asking.items())
    requests = {name: request for name, request in found if request is not None}
    claims = PortClaims()
    claimer = _Claimer(claims, own_pids)
    plan = plan_ports(list(requests.values()), claimer, strict=strict)
    shortages = list(plan.conflicts)
    for assignment in plan.assignments:
        name = assignment.child
        service, had = asking[name], _had(name, asking[name], held) if assignment.is_held else ()
        try:
            port = _child_port(claimer, assignment, service, had)
            claims.ports |= _dealt(claims, service, port, held) if service.shares_port else {name: port}
        except PortUnavailable as refusal:
            shortages.append(PortShortage(requests[name], (_in_the_way(refusal, had),)))
    claims.conflicts = tuple(_conflict(config, shortage) for shortage in shortages)
    return claims


def _claimants(service: Service) -> tuple[str, ...]:
    """Who asks for a port: each child, or the service for all that share one."""
    return (service.name,) if service.shares_port else child_names(service)


def _had(name: str, service: Service, held: Mapping[str, Sockets]) -> Sockets:
    """The sockets for clients that `name` has already."""
    if not service.shares_port:
        return of_clients(held.get(name, ()))
    return pick_held(service, held)


def _request(
    name: str, service: Service, held: Mapping[str, Sockets], ports: Mapping[str, int]
) -> PortRequest | None:
    if service.port is None:
        return None
    if service.inherit_sockets:
        sockets = _had(name, service, held)
        number = sockets[0].getsockname()[1] if sockets else None
    else:
        number = ports.get(name)
    if service.shares_port:
        return PortRequest(name, service.name, service.host, service.port, held=number)
    replica = child_names(service).index(name)
    return PortRequest(name, service.name, service.host, service.port, replica, service.replicas, number)


def _child_port(claimer: "_Claimer", assignment: PortAssignment, service: Service, had: Sockets) -> ChildPort:
    sockets = claimer.sockets(assignment, service, had)
    return ChildPort(
        assignment.port,
        sockets,
        assignment.is_fallback,
        assignment.passed_over,
        assignment.port in claimer.claims.ours,
        tuple(str(one.getsockname()[0]) for one in had if sockets and one not in sockets),
    )


def _dealt(
    claims: PortClaims, service: Service, port: ChildPort, held: Mapping[str, Sockets]
) -> dict[str, ChildPort]:
    """The port of each replica: the same for all, through a copy of the socket and a private one of its own.

    Raises PortUnavailable when this machine has no port left for a private one.
    """
    if not port.sockets:
        # It is ours, and only tried.
        return dict.fromkeys(child_names(service), port)
    dealt = {}
    for child in child_names(service):
        own = held.get(child, ())
        clients = copies_for(port.sockets, own)
        claims.dealt += [one for one in clients if one not in own]
        private = bind_private(own)
        claims.dealt += [private] if private not in own else []
        number = int(private.getsockname()[1])
        dealt[child] = replace(port, sockets=(*clients, private), private=number)
    close_all(claims.bound.pop(port.sockets[0].getsockname()[1], ()))
    return dealt


class _Claimer:
    """Binds what the planner asks for and remembers it; a port that our own child holds counts as free."""

    def __init__(self, claims: PortClaims, own_pids: Collection[int]) -> None:
        self.claims = claims
        self._own_pids = own_pids

    def __call__(self, host: str, port: int) -> int | Taken:
        try:
            sockets = bind_service(host, port)
        except PortUnavailable as refusal:
            if not refusal.is_taken:
                return Taken(port, reason=refusal.reason)
            holder = find_holder(port)
            if holder is None or not self._is_ours(holder):
                return Taken(port, holder)
            self.claims.ours.add(port)
            return port
        number = int(sockets[0].getsockname()[1])
        self.claims.bound[number] = sockets
        return number

    def sockets(self, assignment: PortAssignment, service: Service, had: Sockets) -> Sockets:
        """The sockets that a child is handed, those that it `had` among them where they still fit.

        Raises PortUnavailable when its host is another one now and cannot be had.
        """
        port, bound = assignment.port, self.claims.bound
        if not service.inherit_sockets:
            close_all(bound.pop(port, ()))
            return ()
        if not had:
            return bound.get(port, ())
        sockets = relisten(service.host, port, had)
        bound[port] = tuple(one for one in sockets if one not in had)
        return sockets

    def _is_ours(self, holder: Holder) -> bool:
        if holder.pid is None or not self._own_pids:
            return False
        try:
            session = os.getsid(holder.pid)
        except ProcessLookupError:
            return False
        return session in self._own_pids or holder.pid in self._own_pids


def _in_the_way(refusal: PortUnavailable, had: Iterable[socket.socket]) -> Taken:
    """Who or what has a port that we hold as well, at other addresses."""
    if not refusal.is_taken:
        return Taken(refusal.port, reason=refusal.reason)
    return Taken(refusal.port, find_holder(refusal.port, [str(one.getsockname()[0]) for one in had]))


def _conflict(config: Config, shortage: PortShortage) -> PortConflict:
    request = shortage.request
    key = f"services.{request.service}.port"
    reason = next((taken.reason for taken in shortage.taken if taken.reason is not None), None)
    return PortConflict(
        request.child,
        f"{request.host}:{request.port}",
        where=config.mark(key),
        source=config.source(key),
        holders=() if reason else tuple((taken.port, taken.holder) for taken in shortage.taken),
        reason=reason,
        hint=_mend(shortage, config.mark(key)) if reason is None else None,
    )


def _mend(shortage: PortShortage, where: str | None) -> str:
    other = f"choose another port at {where}" if where else "choose another port with the key 'port'"
    holders = [taken.holder for taken in shortage.taken if taken.holder is not None]
    first = holders[0] if holders else None
    port = shortage.taken[0].port if shortage.taken else 0
    if first is None or first.pid is None:
        return f"find it with  sudo ss -ltnp 'sport = :{port}' , or {other}"
    if first.stack is not None:
        # Ended by itself it would be started again.
        down = f"lucid-launch -f {shlex.quote(first.stack)} down"
        return f"it belongs to another lucid stack; stop that with  {down} , or {other}"
    command = first.command or ""
    if any(word in command for word in _EARLIER_SERVERS):
        return f"it looks like an earlier lucid server; stop it with  kill {first.pid} , or {other}"
    if isinstance(shortage.request.port, FixedPort | PortRange) and len(holders) > 1:
        return f"stop one of them, or {other}"
    return f"stop it with  kill {first.pid} , or {other}"
