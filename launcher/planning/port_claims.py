"""Carry out the port plan with real sockets, and turn what failed into conflicts a person can act on.

Decides which sockets are handed down (built-in servers and `inherit_sockets`) and which are only tried and
let go, and what the mend of a conflict is. Knows nothing of GPUs or of programs.
"""

import os
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from launcher.config import Config
from launcher.configuration.models import FixedPort, PortRange, Service, child_names
from launcher.errors import Holder, PortConflict
from launcher.ports import PortAssignment, PortRequest, PortShortage, Taken, plan_ports
from launcher.sockets import PortUnavailable, bind_service, close_all, find_holder, relisten

__all__ = ["ChildPort", "PortClaims", "claim_ports"]

_EARLIER_SERVERS = ("tensor_server", "memory_server", "servers.memory", "servers.inference", "lucid")
_OUR_SUPERVISOR = "launcher.supervisor"


@dataclass(frozen=True)
class ChildPort:
    """The port of one child and the listening sockets that it inherits."""

    number: int | None
    sockets: tuple[socket.socket, ...] = ()
    is_fallback: bool = False
    passed_over: tuple[Taken, ...] = ()
    is_ours_already: bool = False
    given_up: tuple[str, ...] = ()
    """Addresses at which it listened so far and is not to listen any more."""

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
    bound: dict[int, tuple[socket.socket, ...]] = field(default_factory=dict)
    ours: set[int] = field(default_factory=set)

    def close(self) -> None:
        """Give up everything that was bound here; sockets that were held before are not touched."""
        for sockets in self.bound.values():
            close_all(sockets)


def claim_ports(
    config: Config,
    services: Iterable[Service],
    held: Mapping[str, tuple[socket.socket, ...]],
    *,
    strict: bool,
    own_pids: Collection[int],
    ports: Mapping[str, int] | None = None,
) -> PortClaims:
    """Bind a port for every child that wants one; all conflicts are found, with their holders.

    `ports` are those that running children listen on by themselves; they keep them.
    """
    by_child = {child: service for service in services for child in child_names(service)}
    requests = {
        child: request
        for child, service in by_child.items()
        if (request := _request(child, service, held, ports or {})) is not None
    }
    claims = PortClaims()
    claimer = _Claimer(claims, own_pids)
    plan = plan_ports(list(requests.values()), claimer, strict=strict)
    shortages = list(plan.conflicts)
    for assignment in plan.assignments:
        child = assignment.child
        had = held.get(child, ()) if assignment.is_held else ()
        try:
            sockets = claimer.sockets(assignment, by_child[child], had)
        except PortUnavailable as refusal:
            shortages.append(PortShortage(requests[child], (_in_the_way(refusal, had),)))
            continue
        claims.ports[child] = ChildPort(
            assignment.port,
            sockets,
            assignment.is_fallback,
            assignment.passed_over,
            assignment.port in claims.ours,
            tuple(str(one.getsockname()[0]) for one in had if sockets and one not in sockets),
        )
    claims.conflicts = tuple(_conflict(config, shortage) for shortage in shortages)
    return claims


def _request(
    child: str,
    service: Service,
    held: Mapping[str, tuple[socket.socket, ...]],
    ports: Mapping[str, int],
) -> PortRequest | None:
    if service.port is None:
        return None
    replica = child_names(service).index(child)
    if service.inherit_sockets:
        sockets = held.get(child, ())
        number = sockets[0].getsockname()[1] if sockets else None
    else:
        number = ports.get(child)
    return PortRequest(child, service.name, service.host, service.port, replica, service.replicas, number)


class _Claimer:
    """Binds what the planner asks for and remembers it; a port that our own child holds counts as free."""

    def __init__(self, claims: PortClaims, own_pids: Collection[int]) -> None:
        self._claims = claims
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
            self._claims.ours.add(port)
            return port
        number = int(sockets[0].getsockname()[1])
        self._claims.bound[number] = sockets
        return number

    def sockets(
        self, assignment: PortAssignment, service: Service, had: tuple[socket.socket, ...]
    ) -> tuple[socket.socket, ...]:
        """The sockets that a child is handed, those that it `had` among them where they still fit.

        Raises PortUnavailable when its host is another one now and cannot be had.
        """
        port, bound = assignment.port, self._claims.bound
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
    command = first.command or ""
    if _OUR_SUPERVISOR in command:
        return (
            f"it is another lucid stack; stop it with  lucid-launch -C {first.cwd or '?'} down , or {other}"
        )
    if any(word in command for word in _EARLIER_SERVERS):
        return f"it looks like an earlier lucid server; stop it with  kill {first.pid} , or {other}"
    if isinstance(shortage.request.port, FixedPort | PortRange) and len(holders) > 1:
        return f"stop one of them, or {other}"
    return f"stop it with  kill {first.pid} , or {other}"
