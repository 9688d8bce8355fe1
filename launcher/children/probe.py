"""Which probe a child gets, from its `health` settings.

Decides the address that is asked (loopback when the service listens everywhere, the child's own when it
shares its port) and the headers that open the doors of a built-in server with a token. Does not know rhythm,
thresholds or states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.children.canary import CanaryProbe
from launcher.children.environment import fill_in
from launcher.children.exec_probe import ExecProbe
from launcher.children.parent import Parent
from launcher.children.probing import NotifyFacts, NotifyProbe
from launcher.planning.prepared import PRIVATE_HOST
from launcher.probes import Endpoint, HttpProbe, Probe, TcpProbe, WebSocketProbe
from launcher.spawning import SpawnRequest
from launcher.tokens import read_token

if TYPE_CHECKING:
    from launcher.configuration.models import Health, Service

__all__ = ["build_probe", "probe_kind", "probe_limit_s", "probe_place"]

_ASKED_BY_ADDRESS = frozenset({"websocket", "http", "tcp"})
_EVERYWHERE = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


def probe_kind(service: Service) -> str | None:
    """Return which probe the service has: its own, `websocket` for a built-in server, or None."""
    return service.health.kind or (None if service.server is None else "websocket")


def probe_place(service: Service, port: int | None, private_port: int | None) -> tuple[str, int] | None:
    """Return host and port at which a child is asked: its private one where it has one.

    None when nobody connects to it: another kind of probe, or no port.
    """
    if probe_kind(service) not in _ASKED_BY_ADDRESS or port is None:
        return None
    if private_port is not None:
        return PRIVATE_HOST, private_port
    return _EVERYWHERE.get(service.host, service.host), port


def build_probe(
    service: Service,
    place: tuple[str, int] | None,
    environ: Mapping[str, str],
    facts: NotifyFacts,
    parent: Parent,
) -> Probe:
    """Return the probe of one generation; `place` is of `probe_place`, `environ` is the child's own.

    Raises LookupError when the probe needs a port and the service has none, OSError or UnicodeError for a
    token that cannot be read.
    """
    health = service.health
    kind = probe_kind(service)
    if kind == "notify":
        return NotifyProbe(facts, health.period_s * health.failures)
    if kind == "exec":
        request = SpawnRequest(fill_in(health.exec or (), environ), environ, service.cwd, user=service.user)
        return ExecProbe(parent, request)
    if place is None:
        raise LookupError(f"the {kind} probe needs a port, and the service has none")
    endpoint = Endpoint(*place, _headers(service))
    if kind == "http":
        return HttpProbe(endpoint, health.http or "/")
    return TcpProbe(endpoint) if kind == "tcp" else _websocket_probe(health, endpoint)


def _websocket_probe(health: Health, endpoint: Endpoint) -> Probe:
    """The probe that asks over the WebSocket, with the canary beside it where there is one."""
    probe = WebSocketProbe(endpoint, {"type": health.websocket or "stats"})
    if health.canary is None:
        return probe
    asked = {"type": health.canary.type, "data": dict(health.canary.data)}
    return CanaryProbe(probe, WebSocketProbe(endpoint, asked), health.canary, health.timeout_s)


def probe_limit_s(service: Service) -> float:
    """Return how long one check may take in all."""
    canary = service.health.canary
    return service.health.timeout_s + (0.0 if canary is None else canary.timeout_s)


def _headers(service: Service) -> dict[str, str]:
    """What opens the doors of a built-in server."""
    token = read_token(service)
    return {} if token is None else {"Authorization": f"Bearer {token}"}
