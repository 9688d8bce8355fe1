"""The port plan: which child listens on which port, or why it cannot.

Pure. Decides the order of claims (fixed ports first, so that no range takes what another service must
have), what counts as a fallback, and what a strict plan refuses. Whether a port is free is asked of
`claim`, which may bind it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from launcher.configuration.models import AutoPort, FixedPort, Port, PortRange
from launcher.errors import Holder

__all__ = [
    "Claim",
    "Holder",
    "PortAssignment",
    "PortPlan",
    "PortRequest",
    "PortShortage",
    "Taken",
    "fits",
    "plan_ports",
]


@dataclass(frozen=True)
class PortRequest:
    """What one child asks for, or a service for all its replicas together (they share one port then).

    `held` is the port that it has already, from an earlier plan.
    """

    child: str
    service: str
    host: str
    port: Port
    replica: int = 0
    replicas: int = 1
    held: int | None = None


@dataclass(frozen=True)
class Taken:
    """A port that could not be had: by whom it is held, or another reason."""

    port: int
    holder: Holder | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PortAssignment:
    """The port of one child; `is_fallback` when a range could not give the port that clients try first.

    `passed_over` are the ports of the range that were tried before and are taken.
    """

    child: str
    port: int
    is_fallback: bool = False
    is_held: bool = False
    passed_over: tuple[Taken, ...] = ()


@dataclass(frozen=True)
class PortShortage:
    """A request that nothing could satisfy, with everything that was tried."""

    request: PortRequest
    taken: tuple[Taken, ...]


@dataclass(frozen=True)
class PortPlan:
    """The assignments in the order of the requests, and the conflicts; with conflicts, use none of it."""

    assignments: tuple[PortAssignment, ...]
    conflicts: tuple[PortShortage, ...]


Claim = Callable[[str, int], "int | Taken"]
"""(host, port) -> the port that is now ours, or Taken; port 0 asks for any free port."""


def plan_ports(requests: Sequence[PortRequest], claim: Claim, *, strict: bool = False) -> PortPlan:
    """Claim a port for each request; every conflict is found, not only the first.

    A port that a child holds already is kept when its request still allows it; of replicas that hold one
    together, the first keeps it. `strict` refuses fallbacks: a range then means its first port, or for the
    n-th replica the n-th.
    """
    requests = _parted(requests)
    settled: dict[str, PortAssignment | PortShortage] = {}
    used: set[int] = {request.held for request in requests if _keeps(request) and request.held is not None}
    for request in sorted(requests, key=_urgency):
        outcome = _settle(request, claim, used, strict)
        settled[request.child] = outcome
        if isinstance(outcome, PortAssignment):
            used.add(outcome.port)
    outcomes = [settled[request.child] for request in requests]
    return PortPlan(
        tuple(outcome for outcome in outcomes if isinstance(outcome, PortAssignment)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, PortShortage)),
    )


def _urgency(request: PortRequest) -> tuple[int, int]:
    """Who has no choice claims first; then by replica, so that the first replica gets the first port."""
    choice = {FixedPort: 0, PortRange: 1, AutoPort: 2}[type(request.port)]
    return (choice, request.replica)


def _parted(requests: Sequence[PortRequest]) -> list[PortRequest]:
    """Replicas that have shared a port so far and are to have one each: all but the first must find one."""
    seen: set[tuple[str, int]] = set()
    parted = []
    for request in requests:
        held = request.held
        is_taken = held is not None and (request.service, held) in seen
        parted.append(replace(request, held=None) if is_taken else request)
        if held is not None:
            seen.add((request.service, held))
    return parted


def fits(port: Port, number: int) -> bool:
    """Whether `number` is a port that `port` allows."""
    match port:
        case FixedPort(only):
            return number == only
        case PortRange(first, last):
            return first <= number <= last
        case AutoPort():
            return True


def _keeps(request: PortRequest) -> bool:
    return request.held is not None and fits(request.port, request.held)


def _settle(
    request: PortRequest, claim: Claim, used: set[int], strict: bool
) -> PortAssignment | PortShortage:
    if _keeps(request) and request.held is not None:
        return PortAssignment(request.child, request.held, _is_fallback(request, request.held), is_held=True)
    taken: list[Taken] = []
    for port in _candidates(request, used, strict):
        got = claim(request.host, port)
        if isinstance(got, int):
            is_fallback = _is_fallback(request, got)
            return PortAssignment(request.child, got, is_fallback, passed_over=tuple(taken))
        taken.append(got)
    return PortShortage(request, tuple(taken))


def _candidates(request: PortRequest, used: set[int], strict: bool) -> Iterator[int]:
    match request.port:
        case FixedPort(number):
            yield number
        case PortRange(first, last):
            end = min(last, first + request.replica) if strict else last
            start = min(last, first + request.replica) if strict else first
            yield from (port for port in range(start, end + 1) if port not in used)
        case AutoPort():
            yield 0


def _is_fallback(request: PortRequest, port: int) -> bool:
    """A known client tries the first port only; replicas are expected on the ports right after it."""
    return isinstance(request.port, PortRange) and port >= request.port.first + request.replicas
